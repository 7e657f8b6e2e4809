"""Why an answer of the local cloud differs from one that was recorded from AWS; empty if nobody has said so yet."""

from __future__ import annotations

import re

from matching import Difference

# (in the name of the recording, in the path, what AWS said): why
_KNOWN = (
    (".*", r".*/ResourceChange/Replacement", "True", "AWS said so until May 2025; later recordings have nothing"),
    (".*", r".*/PolicyAction", "nothing", "AWS has shown it since 2023"),
    (".*", r".*/LastOperations", ".*", "new in 2026 and not offered yet, as little as DescribeEvents"),
    (
        ".*", r"describe-change-set-2-prop-values/Changes/[12]", "nothing",
        "AWS leaves out a change that execution makes; here the change set shows what execution does",
    ),
    (
        ".*with_dependent_addition", r".*/AfterContext/Properties/DisplayName", "display-value-1",
        "AWS shows the value from before the update; execution sets the new one, there as here",
    ),
    (".*fn_split_with_get_att", r".*/StatusReason", r"\[WARN\].*", "AWS cannot join the parts of a text it does not "
     "know yet; here they are not known either, which is no error"),
    (".*deletion_order.*", r"all-events/.*", ".*", "independent resources, in whatever order they end"),
    (".*", r"(error/message|deleted-resource/error-message)", ".*ParameterNotFound.*", "SSM is answered by moto, "
     "which says more"),
    (".*test_get_template_summary", ".*/Parameters/TopicName", ".*", "the template got a parameter after it was "
     "recorded"),
    (".*test_object_lock_configuration", ".*/DefaultRetention/Years", "nothing", "S3 is answered by moto, which adds "
     "the years to a retention of days"),
    (".*test_get_template_summary", ".*/ResourceIdentifiers", "nothing", "recorded before topics could be imported"),
)  # fmt: skip


def explanation(name: str, found: Difference) -> str:
    for recording, path, aws, why in _KNOWN:
        parts = ((recording, name), (path, found.path), (aws, found.aws))
        if all(re.fullmatch(pattern, text, re.DOTALL) for pattern, text in parts):
            return why
    return ""
