"""Pipelines, connections and bound repositories, as boto3 sees them in a whole cloud."""

from __future__ import annotations

import asyncio
import io
import json
import time
import zipfile

from codepipeline_cloud import cloud

ROLE_ACTIONS = ("s3:*", "cloudformation:*", "iam:PassRole", "codeconnections:UseConnection", "sns:Publish")

TEMPLATE = json.dumps(
    {
        "Parameters": {"Tag": {"Type": "String"}},
        "Resources": {
            "Value": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Name": "/tag", "Type": "String", "Value": {"Ref": "Tag"}},
            }
        },
        "Outputs": {"Tag": {"Value": {"Ref": "Tag"}}},
    }
).encode()


def pipeline_template(role: str, deploy_role: str, bucket: str) -> str:
    def action(name, category, provider, configuration, **more):
        kind = {"Category": category, "Owner": "AWS", "Provider": provider, "Version": "1"}
        return {"Name": name, "ActionTypeId": kind, "Configuration": configuration, "RunOrder": 1} | more

    source = action(
        "Fetch",
        "Source",
        "CodeStarSourceConnection",
        {"ConnectionArn": {"Ref": "Connection"}, "FullRepositoryId": "acme/app", "BranchName": "main"},
        OutputArtifacts=[{"Name": "App"}],
        Namespace="Source",
    )
    overrides = json.dumps({"Tag": "#{Source.CommitId}"})
    deploy = action(
        "Deploy",
        "Deploy",
        "CloudFormation",
        {
            "ActionMode": "CREATE_UPDATE",
            "StackName": "app",
            "RoleArn": deploy_role,
            "TemplatePath": "App::app.template",
            "ParameterOverrides": overrides,
        },
        InputArtifacts=[{"Name": "App"}],
    )
    stages = [
        {"Name": "Source", "Actions": [source]},
        {"Name": "Approval", "Actions": [action("Approve", "Approval", "Manual", {"CustomData": "really?"})]},
        {"Name": "Deploy", "Actions": [deploy]},
    ]
    return json.dumps(
        {
            "Resources": {
                "Connection": {
                    "Type": "AWS::CodeConnections::Connection",
                    "Properties": {"ConnectionName": "github", "ProviderType": "GitHub"},
                },
                "Pipeline": {
                    "Type": "AWS::CodePipeline::Pipeline",
                    "Properties": {
                        "Name": "app",
                        "PipelineType": "V2",
                        "RoleArn": role,
                        "ArtifactStore": {"Type": "S3", "Location": bucket},
                        "Stages": stages,
                        "Tags": [{"Key": "team", "Value": "web"}],
                    },
                },
            },
            "Outputs": {
                "Connection": {"Value": {"Ref": "Connection"}},
                "Pipeline": {"Value": {"Ref": "Pipeline"}},
                "Version": {"Value": {"Fn::GetAtt": "Pipeline.Version"}},
            },
        }
    )


async def stack(running, name: str, body: str) -> dict[str, str]:
    await running.do("cloudformation", "create_stack", StackName=name, TemplateBody=body)

    def look():
        (found,) = running.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        assert "ROLLBACK" not in found["StackStatus"] and "FAILED" not in found["StackStatus"], found
        return found if found["StackStatus"].endswith("_COMPLETE") else None

    found = await running.until(look)
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}


async def test_a_pipeline_from_a_template_follows_the_commits_of_a_bound_checkout(running):
    await running.commit({"app.template": TEMPLATE})
    bucket = await running.bucket("artifacts")
    role = await running.role("pipeline", "codepipeline.amazonaws.com", *ROLE_ACTIONS)
    deploy_role = await running.role("deploy", "cloudformation.amazonaws.com", "ssm:*")
    out = await stack(running, "delivery", pipeline_template(role, deploy_role, bucket))
    assert (out["Pipeline"], out["Version"]) == ("app", "1")
    connection = {"ConnectionArn": out["Connection"]}
    found = (await running.do("codeconnections", "get_connection", **connection))["Connection"]
    assert found["ConnectionStatus"] == "PENDING"

    # Nothing is bound yet: the first execution fails and names the remedy.
    await running.execution("app", "Failed")
    state = await running.do("codepipeline", "get_pipeline_state", name="app")
    error = state["stageStates"][0]["actionStates"][0]["latestExecution"]["errorDetails"]
    assert error["code"] == "ConfigurationError" and "portside connect acme/app PATH" in error["message"]

    status, bound = await running.page("PUT", "/acme/app", path=str(running.checkout))
    assert (status, bound["branches"]) == (200, {"main": await running.git("rev-parse", "HEAD")})
    found = (await running.do("codestar-connections", "get_connection", **connection))["Connection"]
    assert found["ConnectionStatus"] == "AVAILABLE"

    await running.do("codepipeline", "start_pipeline_execution", name="app")
    token = await running.token("app", "Approval", "Approve")
    answer = await running.do(
        "codepipeline", "put_approval_result", pipelineName="app", stageName="Approval", actionName="Approve",
        token=token, result={"summary": "fine", "status": "Approved"},
    )  # fmt: skip
    assert answer["approvedAt"]
    await running.execution("app", "Succeeded", number=2)

    began = time.monotonic()
    commit = await running.commit({"note": b"2"}, message="Second")
    await running.execution("app", "InProgress", number=3)
    assert time.monotonic() - began < 3.0
    token = await running.token("app", "Approval", "Approve")
    await running.do(
        "codepipeline", "put_approval_result", pipelineName="app", stageName="Approval", actionName="Approve",
        token=token, result={"summary": "", "status": "Approved"},
    )  # fmt: skip
    third = await running.execution("app", "Succeeded", number=3)
    assert third["trigger"]["triggerType"] == "WebhookV2"
    assert third["sourceRevisions"][0]["revisionId"] == commit
    value = await running.do("ssm", "get_parameter", Name="/tag")
    assert value["Parameter"]["Value"] == commit

    def history():
        pages = running.client("codepipeline").get_paginator("list_action_executions")
        found = pages.paginate(pipelineName="app", PaginationConfig={"PageSize": 2})
        return [each for page in found for each in page["actionExecutionDetails"]]

    details = await asyncio.to_thread(history)
    assert [each["actionName"] for each in details] == ["Deploy", "Approve", "Fetch"] * 2 + ["Fetch"]
    assert details[0]["output"]["outputVariables"] == {"Tag": commit}
    assert details[2]["output"]["outputVariables"]["CommitMessage"] == "Second"
    assert details[0]["output"]["executionResult"]["externalExecutionId"].startswith("arn:aws:cloudformation:")
    (place,) = [each["s3location"] for each in details[2]["output"]["outputArtifacts"]]
    assert place["bucket"] == bucket and place["key"].startswith("app/App/")

    await running.do("cloudformation", "delete_stack", StackName="delivery")
    await running.until(lambda: not running.client("codepipeline").list_pipelines()["pipelines"])


async def test_a_role_without_the_permission_fails_the_action_and_says_which(running):
    await running.commit({"app.template": TEMPLATE})
    await running.page("PUT", "/acme/app", path=str(running.checkout))
    bucket = await running.bucket("artifacts")
    role = await running.role("pipeline", "codepipeline.amazonaws.com", "s3:*", "codeconnections:UseConnection")
    deploy_role = await running.role("deploy", "cloudformation.amazonaws.com", "ssm:*")
    body = pipeline_template(role, deploy_role, bucket)
    await stack(running, "delivery", body)
    token = await running.token("app", "Approval", "Approve")
    await running.do(
        "codepipeline", "put_approval_result", pipelineName="app", stageName="Approval", actionName="Approve",
        token=token, result={"summary": "", "status": "Approved"},
    )  # fmt: skip
    await running.execution("app", "Failed")
    state = await running.do("codepipeline", "get_pipeline_state", name="app")
    error = state["stageStates"][2]["actionStates"][0]["latestExecution"]["errorDetails"]
    assert error["code"] == "PermissionError"
    assert "is not authorized to perform: cloudformation:DescribeStacks" in error["message"]

    await running.do("iam", "delete_role_policy", RoleName="pipeline", PolicyName="all")
    await running.do("codepipeline", "start_pipeline_execution", name="app")
    await running.execution("app", "Failed", number=2)
    state = await running.do("codepipeline", "get_pipeline_state", name="app")
    error = state["stageStates"][0]["actionStates"][0]["latestExecution"]["errorDetails"]
    assert error["code"] == "PermissionError"
    assert "Unable to use Connection" in error["message"]


async def test_pages_of_repositories_bind_list_and_refuse(running):
    await running.commit({"a": b"1"})
    path = str(running.checkout)
    assert await running.page("GET") == (200, {"repositories": []})
    status, answer = await running.page("PUT", "/acme/app", path="/nowhere/at/all")
    assert status == 400 and "cannot stand for acme/app" in answer["message"]
    assert (await running.page("PUT", "/acme/app", path="relative"))[0] == 400
    assert (await running.page("PUT", "/acme/../app%20x", path=path))[0] in (400, 404)
    assert (await running.page("PUT", "/acme/app"))[0] == 400
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        status, answer = await running.page("PUT", "/acme/app", headers=headers, path=path)
        assert status == 403, answer
    assert await running.page("GET") == (200, {"repositories": []})
    assert (await running.page("PUT", "/acme/app", path=path))[0] == 200
    assert await running.page("GET") == (200, {"repositories": [{"name": "acme/app", "path": path}]})
    assert (await running.page("GET", "/ACME/App"))[1]["path"] == path
    assert (await running.page("DELETE", "/acme/app"))[0] == 200
    status, answer = await running.page("DELETE", "/acme/app")
    assert (status, answer["message"]) == (404, "No checkout is bound to acme/app.")


async def test_connections_under_both_names(running):
    made = {}
    for service in ("codeconnections", "codestar-connections"):
        made[service] = (
            await running.do(
                service, "create_connection", ConnectionName=f"c-{service}"[:32], ProviderType="GitHub",
                Tags=[{"Key": "team", "Value": "web"}],
            )
        )["ConnectionArn"]  # fmt: skip
        assert made[service].startswith(f"arn:aws:{service}:us-east-1:000000000000:connection/")
    for service in made:
        listed = (await running.do(service, "list_connections"))["Connections"]
        assert {each["ConnectionArn"] for each in listed} == set(made.values())
        assert {each["ConnectionStatus"] for each in listed} == {"PENDING"}
    arn = made["codeconnections"]
    await running.do("codeconnections", "tag_resource", ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])
    await running.do("codeconnections", "untag_resource", ResourceArn=arn, TagKeys=["team"])
    found = await running.do("codeconnections", "list_tags_for_resource", ResourceArn=arn)
    assert found["Tags"] == [{"Key": "a", "Value": "b"}]
    await running.do("codestar-connections", "delete_connection", ConnectionArn=arn)
    code, _ = await running.refused("codeconnections", "get_connection", ConnectionArn=arn)
    assert code == "ResourceNotFoundException"
    code, text = await running.refused(
        "codeconnections", "create_connection", ConnectionName="x", ProviderType="GitHubEnterpriseServer"
    )
    assert code == "InvalidInputException" and "hosts" in text
    code, _ = await running.refused("codeconnections", "create_host", Name="h", ProviderType="GitHub",
                                    ProviderEndpoint="https://example.com")  # fmt: skip
    assert code == "NotImplemented"


def declaration(role, bucket, source, *more):
    return {
        "name": "app",
        "roleArn": role,
        "artifactStore": {"type": "S3", "location": bucket},
        "stages": [
            {"name": "Source", "actions": [source]},
            {
                "name": "Copy",
                "actions": [
                    {
                        "name": "Copy",
                        "actionTypeId": {"category": "Deploy", "owner": "AWS", "provider": "S3", "version": "1"},
                        "configuration": {"BucketName": bucket, "Extract": "true", "ObjectKey": "site"},
                        "inputArtifacts": [{"name": "App"}],
                    }
                ],
            },
            *more,
        ],
    }


def source(provider, **configuration):
    return {
        "name": "Fetch",
        "actionTypeId": {"category": "Source", "owner": "AWS", "provider": provider, "version": "1"},
        "configuration": configuration,
        "outputArtifacts": [{"name": "App"}],
    }


async def test_rules_start_pipelines_of_code_commit_and_s3_and_a_new_object_does(running):
    await running.commit({"index.html": b"<h1>1</h1>"})
    bucket = await running.bucket("artifacts")
    role = await running.role("pipeline", "codepipeline.amazonaws.com", "s3:*")
    await running.page("PUT", "/shop", path=str(running.checkout))
    body = {
        "Resources": {
            "Repository": {"Type": "AWS::CodeCommit::Repository", "Properties": {"RepositoryName": "shop"}},
            "Rule": {
                "Type": "AWS::Events::Rule",
                "Properties": {
                    "EventPattern": {
                        "source": ["aws.codecommit"],
                        "detail-type": ["CodeCommit Repository State Change"],
                        "resources": [{"Fn::GetAtt": ["Repository", "Arn"]}],
                        "detail": {"referenceType": ["branch"], "referenceName": ["main"]},
                    },
                    "Targets": [
                        {"Arn": {"Fn::Sub": "arn:aws:codepipeline:${AWS::Region}:${AWS::AccountId}:app"},
                         "RoleArn": role, "Id": "pipeline"}
                    ],
                },
            },
        },
        "Outputs": {"Rule": {"Value": {"Ref": "Rule"}}, "Arn": {"Value": {"Fn::GetAtt": "Rule.Arn"}},
                    "Url": {"Value": {"Fn::GetAtt": "Repository.CloneUrlHttp"}}},
    }  # fmt: skip
    out = await stack(running, "trigger", json.dumps(body))
    assert out["Rule"].startswith("trigger-Rule-")
    code_commit = source("CodeCommit", RepositoryName="shop", BranchName="main", PollForSourceChanges="false")
    await running.do("codepipeline", "create_pipeline", pipeline=declaration(role, bucket, code_commit))
    await running.execution("app", "Succeeded")
    site = await running.do("s3", "get_object", Bucket=bucket, Key="site/index.html")
    assert (site["Body"].read(), site["ContentType"]) == (b"<h1>1</h1>", "text/html")
    await running.git("checkout", "-q", "-b", "side")
    await running.commit({"index.html": b"side"})
    await running.git("checkout", "-q", "main")
    commit = await running.commit({"index.html": b"<h1>2</h1>"})
    second = await running.execution("app", "Succeeded", number=2)
    assert second["trigger"] == {"triggerType": "CloudWatchEvent", "triggerDetail": out["Arn"]}
    assert second["sourceRevisions"][0]["revisionId"] == commit

    # An object in a bucket, found without a rule.
    files = await running.bucket("files")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.txt", "from the bucket")
    await running.do("s3", "put_object", Bucket=files, Key="app.zip", Body=data.getvalue())
    changed = declaration(role, bucket, source("S3", S3Bucket=files, S3ObjectKey="app.zip"))
    await running.do("codepipeline", "update_pipeline", pipeline=changed)
    await running.do("codepipeline", "start_pipeline_execution", name="app")
    await running.execution("app", "Succeeded", number=3)
    await running.do("s3", "put_object", Bucket=files, Key="app.zip", Body=data.getvalue())
    fourth = await running.execution("app", "Succeeded", number=4)
    assert fourth["trigger"]["triggerType"] == "PollForSourceChanges"
    await running.do("cloudformation", "delete_stack", StackName="trigger")

    def gone():
        return running.client("cloudformation").list_stacks(StackStatusFilter=["DELETE_COMPLETE"])[
            "StackSummaries"
        ]

    await running.until(gone)


async def test_webhooks_are_stored_and_let_commits_start_the_pipeline(running):
    await running.commit({"index.html": b"1"})
    bucket = await running.bucket("artifacts")
    role = await running.role("pipeline", "codepipeline.amazonaws.com", "s3:*")
    await running.page("PUT", "/acme/app", path=str(running.checkout))
    fetch = {
        "name": "Fetch",
        "actionTypeId": {"category": "Source", "owner": "ThirdParty", "provider": "GitHub", "version": "1"},
        "configuration": {"Owner": "acme", "Repo": "app", "Branch": "main", "OAuthToken": "hush-hush",
                          "PollForSourceChanges": "false"},
        "outputArtifacts": [{"name": "App"}],
    }  # fmt: skip
    made = await running.do("codepipeline", "create_pipeline", pipeline=declaration(role, bucket, fetch))
    shown = await running.do("codepipeline", "get_pipeline", name="app")
    for each in (made["pipeline"], shown["pipeline"]):
        assert each["stages"][0]["actions"][0]["configuration"]["OAuthToken"] == "****"
    await running.execution("app", "Succeeded")
    webhook = {
        "name": "hook",
        "targetPipeline": "app",
        "targetAction": "Fetch",
        "filters": [{"jsonPath": "$.ref", "matchEquals": "refs/heads/{Branch}"}],
        "authentication": "GITHUB_HMAC",
        "authenticationConfiguration": {"SecretToken": "very-secret"},
    }
    answer = await running.do("codepipeline", "put_webhook", webhook=webhook)
    assert answer["webhook"]["definition"]["authenticationConfiguration"] == {"SecretToken": "****"}
    code, text = await running.refused("codepipeline", "register_webhook_with_third_party", webhookName="hook")
    assert code == "NotImplemented" and "RegisterWebhookWithThirdParty" in text
    await running.commit({"index.html": b"2"})
    second = await running.execution("app", "Succeeded", number=2)
    assert second["trigger"] == {"triggerType": "Webhook", "triggerDetail": "hook"}
    (listed,) = (await running.do("codepipeline", "list_webhooks"))["webhooks"]
    assert listed["arn"] == "arn:aws:codepipeline:us-east-1:000000000000:webhook:hook"
    await running.do("codepipeline", "delete_webhook", name="hook")
    assert (await running.do("codepipeline", "list_webhooks"))["webhooks"] == []


async def test_commits_made_while_the_cloud_is_down_start_the_pipeline_when_it_is_back(place):
    fetch = source("CodeCommit", RepositoryName="shop", BranchName="main")
    async with cloud(place) as running:
        await running.commit({"index.html": b"1"})
        bucket = await running.bucket("artifacts")
        role = await running.role("pipeline", "codepipeline.amazonaws.com", "s3:*")
        await running.page("PUT", "/shop", path=str(running.checkout))
        await running.do("codepipeline", "create_pipeline", pipeline=declaration(role, bucket, fetch))
        await running.execution("app", "Succeeded")
        await running.commit({"index.html": b"2"})
        await running.execution("app", "Succeeded", number=2)
    await running.commit({"index.html": b"3"})
    head = await running.commit({"index.html": b"4"})
    async with cloud(place) as running:
        third = await running.execution("app", "Succeeded", number=3)
        assert third["sourceRevisions"][0]["revisionId"] == head
        site = await running.do("s3", "get_object", Bucket="artifacts", Key="site/index.html")
        assert site["Body"].read() == b"4"
