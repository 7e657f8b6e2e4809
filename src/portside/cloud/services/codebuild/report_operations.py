"""The operations on report groups and test reports. A part of `CodeBuildApi`.

Reports are written by builds (`junit.py` reads them); here they are shown and deleted. Code coverage is not
offered.
"""

from __future__ import annotations

from dataclasses import replace

from portside.cloud.kernel.clock import Clock
from portside.cloud.kernel.database import Database
from portside.cloud.protocol.errors import AwsError
from portside.cloud.services.calls import Caller, Params, operation
from portside.cloud.services.codebuild import answers, pages, records
from portside.cloud.services.codebuild.records import ReportGroup
from portside.cloud.services.codebuild.validate import invalid, not_offered


def group_arn(region: str, account: str, name: str) -> str:
    return f"arn:aws:codebuild:{region}:{account}:report-group/{name}"


class ReportOperations:
    _database: Database
    _clock: Clock

    @operation("CreateReportGroup")
    def create_report_group(self, caller: Caller, params: Params) -> Params:
        _check(params)
        name = str(params["name"])
        arn = group_arn(caller.region, caller.account, name)
        now = self._clock.now()
        spec = {key: params[key] for key in ("type", "exportConfig", "tags") if params.get(key) is not None}
        record = ReportGroup(arn, caller.region, name, spec, now, now)
        with self._database.write() as tx:
            if records.report_group(tx, arn) is not None:
                raise AwsError("ResourceAlreadyExistsException", f"Report group already exists: {arn}")
            records.save_report_group(tx, record)
        return {"reportGroup": answers.report_group(record)}

    @operation("UpdateReportGroup")
    def update_report_group(self, caller: Caller, params: Params) -> Params:
        _check(params)
        with self._database.write() as tx:
            present = self._group(params["arn"])
            changes = {key: params[key] for key in ("exportConfig", "tags") if params.get(key) is not None}
            record = replace(present, spec=present.spec | changes, modified=self._clock.now())
            records.save_report_group(tx, record)
        return {"reportGroup": answers.report_group(record)}

    @operation("DeleteReportGroup")
    def delete_report_group(self, caller: Caller, params: Params) -> Params:
        arn = str(params["arn"])
        with self._database.write() as tx:
            present = records.reports(tx, caller.region, arn)
            if present and not params.get("deleteReports"):
                raise invalid(f"Report group {arn} still has reports; delete them first, or with deleteReports")
            for each in present:
                records.delete_report(tx, each.arn)
            records.delete_report_group(tx, arn)
        return {}

    @operation("BatchGetReportGroups")
    def batch_get_report_groups(self, caller: Caller, params: Params) -> Params:
        found, missing = [], []
        for arn in dict.fromkeys(params["reportGroupArns"]):
            record = records.report_group(self._database, arn)
            if record is None:
                missing.append(arn)
            else:
                found.append(answers.report_group(record))
        return {"reportGroups": found, "reportGroupsNotFound": missing}

    @operation("ListReportGroups")
    def list_report_groups(self, caller: Caller, params: Params) -> Params:
        found = records.report_groups(self._database, caller.region)
        match params.get("sortBy") or "NAME":
            case "CREATED_TIME":
                found.sort(key=lambda each: each.created)
            case "LAST_MODIFIED_TIME":
                found.sort(key=lambda each: each.modified)
        arns = [each.arn for each in reversed(found)]
        shown, token = pages.page(pages.ordered(arns, params, descending=False), params)
        return {"reportGroups": shown, "nextToken": token}

    @operation("BatchGetReports")
    def batch_get_reports(self, caller: Caller, params: Params) -> Params:
        found, missing = [], []
        for arn in dict.fromkeys(params["reportArns"]):
            record = records.report(self._database, arn)
            if record is None:
                missing.append(arn)
            else:
                found.append(answers.report(record))
        return {"reports": found, "reportsNotFound": missing}

    @operation("ListReports")
    def list_reports(self, caller: Caller, params: Params) -> Params:
        return self._list(caller, params, "")

    @operation("ListReportsForReportGroup")
    def list_reports_for_report_group(self, caller: Caller, params: Params) -> Params:
        return self._list(caller, params, self._group(params["reportGroupArn"]).arn)

    def _list(self, caller: Caller, params: Params, group: str) -> Params:
        status = (params.get("filter") or {}).get("status")
        found = records.reports(self._database, caller.region, group)
        arns = [each.arn for each in found if status in (None, each.status)]
        shown, token = pages.page(pages.ordered(arns, params), params)
        return {"reports": shown, "nextToken": token}

    @operation("DescribeTestCases")
    def describe_test_cases(self, caller: Caller, params: Params) -> Params:
        arn = str(params["reportArn"])
        if records.report(self._database, arn) is None:
            raise AwsError("ResourceNotFoundException", f"Report cannot be found: {arn}")
        wanted = params.get("filter") or {}
        cases = {
            str(number): case
            for number, case in enumerate(records.cases_of(self._database, arn))
            if wanted.get("status") in (None, case["status"])
            and (wanted.get("keyword") or "").lower() in f"{case.get('prefix', '')} {case['name']}".lower()
        }
        shown, token = pages.page(list(cases), params)
        return {"testCases": [{**cases[key], "reportArn": arn} for key in shown], "nextToken": token}

    @operation("DeleteReport")
    def delete_report(self, caller: Caller, params: Params) -> Params:
        with self._database.write() as tx:
            records.delete_report(tx, str(params["arn"]))
        return {}

    def _group(self, arn: str) -> ReportGroup:
        found = records.report_group(self._database, arn)
        if found is None:
            raise AwsError("ResourceNotFoundException", f"Report group cannot be found: {arn}")
        return found


def _check(params: Params) -> None:
    if params.get("type") == "CODE_COVERAGE":
        raise not_offered("report groups of type CODE_COVERAGE")
    if (params.get("exportConfig") or {}).get("exportConfigType") == "S3":
        raise not_offered("the export of reports to S3")
