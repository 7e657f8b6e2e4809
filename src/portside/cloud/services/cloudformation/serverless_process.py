"""The program that carries out AWS::Serverless-2016-10-31 once and ends: JSON in, JSON out.

The transform itself is AWS's own library. It holds more memory than a cloud that is idle may have, so it lives
only as long as it is needed. `serverless.py` runs this.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def transformed(document: dict[str, Any], values: dict[str, Any], policies: dict[str, str]) -> dict[str, Any]:
    """`document` for what it became, or `error` in the words that follow `Transform ... failed with: `."""
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.translator.transform import transform

    class Policies:
        def load(self) -> dict[str, str]:
            return policies

    try:
        return {"document": transform(document, values, Policies())}
    except InvalidDocumentException as error:
        causes = " ".join(each.message for each in error.causes)
        return {"error": f"{error.message} {causes}"}


def main() -> None:
    given = json.load(sys.stdin)
    json.dump(transformed(given["document"], given["values"], given["policies"]), sys.stdout)


if __name__ == "__main__":
    main()
