"""Types of the ancillary services beyond the heart: every one made, read, changed and removed."""

from __future__ import annotations

import json
from typing import Any

from cfn_ancillary import Cloud, of, showing


def allow(action: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


async def test_users_groups_and_keys(cloud: Cloud) -> None:
    resources = {
        "Staff": of("IAM::Group", ManagedPolicyArns=["arn:aws:iam::aws:policy/ReadOnlyAccess"]),
        "Guests": of("IAM::Group"),
        "User": of(
            "IAM::User",
            Groups=[{"Ref": "Staff"}],
            Policies=[{"PolicyName": "one", "PolicyDocument": allow("s3:GetObject")}],
            LoginProfile={"Password": "Correct-horse-9"},
            Tags=[{"Key": "a", "Value": "1"}],
        ),
        "Key": of("IAM::AccessKey", UserName={"Ref": "User"}),
        "Both": of("IAM::UserToGroupAddition", GroupName={"Ref": "Guests"}, Users=[{"Ref": "User"}]),
        "Extra": of(
            "IAM::UserPolicy", UserName={"Ref": "User"}, PolicyName="extra", PolicyDocument=allow("sqs:*")
        ),
        "Linked": of("IAM::ServiceLinkedRole", AWSServiceName="ecs.amazonaws.com", Description="x"),
    }
    template = showing(resources, "User.Arn", "Key.SecretAccessKey", "Staff.Arn")
    out = await cloud.create(template, Capabilities=["CAPABILITY_IAM"])
    user = {"UserName": out["User"]}
    assert out["UserArn"].endswith(f":user/{out['User']}") and len(out["KeySecretAccessKey"]) == 40
    groups = (await cloud.ask("iam", "ListGroupsForUser", **user))["Groups"]
    assert {each["GroupName"] for each in groups} == {out["Staff"], out["Guests"]}
    assert sorted((await cloud.ask("iam", "ListUserPolicies", **user))["PolicyNames"]) == ["extra", "one"]
    resources["User"]["Properties"] |= {"Groups": [], "Policies": [], "Tags": [{"Key": "b", "Value": "2"}]}
    resources["Key"]["Properties"]["Status"] = "Inactive"
    assert (await cloud.update(template, Capabilities=["CAPABILITY_IAM"]))["Key"] == out["Key"]
    assert (await cloud.ask("iam", "ListUserPolicies", **user))["PolicyNames"] == ["extra"]
    assert (await cloud.ask("iam", "ListUserTags", **user))["Tags"] == [{"Key": "b", "Value": "2"}]
    (key,) = (await cloud.ask("iam", "ListAccessKeys", **user))["AccessKeyMetadata"]
    assert key["Status"] == "Inactive"
    await cloud.delete()
    assert (await cloud.ask("iam", "ListUsers"))["Users"] == []


async def test_queues_topics_and_what_lies_between(cloud: Cloud) -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}],
    }
    resources = {
        "Dead": of("SQS::Queue", MessageRetentionPeriod=1209600),
        "Queue": of(
            "SQS::Queue",
            VisibilityTimeout="45",
            RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 3},
            Tags=[{"Key": "a", "Value": "1"}],
        ),
        "Ordered": of("SQS::Queue", FifoQueue=True, ContentBasedDeduplication=True),
        "Open": of("SQS::QueuePolicy", Queues=[{"Ref": "Queue"}], PolicyDocument=policy),
        "Topic": of("SNS::Topic"),
        "Heard": of(
            "SNS::Subscription",
            TopicArn={"Ref": "Topic"},
            Protocol="sqs",
            Endpoint={"Fn::GetAtt": ["Queue", "Arn"]},
            RawMessageDelivery="true",
        ),
        "Spoken": of(
            "SNS::TopicPolicy",
            Topics=[{"Ref": "Topic"}],
            PolicyDocument={
                "Version": "2012-10-17",
                "Statement": [policy["Statement"][0] | {"Action": "sns:Publish"}],
            },
        ),
    }
    template = showing(resources, "Queue.Arn", "Queue.QueueName", "Ordered.QueueName")
    out = await cloud.create(template)
    assert out["OrderedQueueName"].endswith(".fifo") and out["QueueArn"].endswith(out["QueueQueueName"])

    async def attributes(name: str) -> Any:
        asked = {"QueueUrl": out[name], "AttributeNames": ["All"]}
        return (await cloud.ask("sqs", "GetQueueAttributes", **asked))["Attributes"]

    queue = await attributes("Queue")
    assert (queue["VisibilityTimeout"], json.loads(queue["RedrivePolicy"])["maxReceiveCount"]) == ("45", 3)
    assert "sqs:SendMessage" in queue["Policy"]
    heard = await cloud.ask("sns", "GetSubscriptionAttributes", SubscriptionArn=out["Heard"])
    assert heard["Attributes"]["RawMessageDelivery"] == "true"
    del resources["Queue"]["Properties"]["VisibilityTimeout"]
    resources["Heard"]["Properties"]["RawMessageDelivery"] = "false"
    del resources["Open"]
    del template["Outputs"]["Open"]
    again = await cloud.update(template)
    assert again["Queue"] == out["Queue"]
    queue = await attributes("Queue")
    assert queue["VisibilityTimeout"] == "30" and not queue.get("Policy")
    heard = await cloud.ask("sns", "GetSubscriptionAttributes", SubscriptionArn=out["Heard"])
    assert heard["Attributes"]["RawMessageDelivery"] == "false"
    await cloud.delete()
    assert not (await cloud.ask("sqs", "ListQueues")).get("QueueUrls")


async def test_a_queue_that_is_there_already_is_not_adopted(cloud: Cloud) -> None:
    await cloud.ask("sqs", "CreateQueue", QueueName="mine")
    made = await cloud.do(
        "CreateStack",
        StackName="web",
        TemplateBody=json.dumps({"Resources": {"Q": of("SQS::Queue", QueueName="mine")}}),
    )
    cloud.id = made["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    assert any("already exists" in each for each in await cloud.reasons())
    assert len((await cloud.ask("sqs", "ListQueues"))["QueueUrls"]) == 1


async def test_secrets_and_keys(cloud: Cloud) -> None:
    everything = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}
    resources = {
        "Key": of(
            "KMS::Key",
            KeyPolicy={"Version": "2012-10-17", "Statement": [everything]},
            EnableKeyRotation=True,
            Description="one",
            PendingWindowInDays=7,
        ),
        "Alias": of("KMS::Alias", AliasName="alias/web", TargetKeyId={"Ref": "Key"}),
        "Secret": of(
            "SecretsManager::Secret",
            Description="one",
            GenerateSecretString={
                "SecretStringTemplate": '{"username": "app"}',
                "GenerateStringKey": "password",
                "PasswordLength": 20,
                "ExcludePunctuation": True,
            },
            Tags=[{"Key": "a", "Value": "1"}],
        ),
        "Access": of(
            "SecretsManager::ResourcePolicy",
            SecretId={"Ref": "Secret"},
            ResourcePolicy={"Version": "2012-10-17", "Statement": [everything | {"Action": "secretsmanager:*"}]},
        ),
    }
    template = showing(resources, "Key.Arn")
    out = await cloud.create(template)
    assert out["KeyArn"].endswith(f"key/{out['Key']}")
    key = {"KeyId": out["Key"]}
    assert (await cloud.ask("kms", "GetKeyRotationStatus", **key))["KeyRotationEnabled"] is True
    value = json.loads(
        (await cloud.ask("secretsmanager", "GetSecretValue", SecretId=out["Secret"]))["SecretString"]
    )
    assert value["username"] == "app" and len(value["password"]) == 20
    resources["Key"]["Properties"] |= {"EnableKeyRotation": False, "Description": "two", "Enabled": False}
    resources["Secret"]["Properties"]["Description"] = "two"
    assert await cloud.update(template) == out
    again = json.loads(
        (await cloud.ask("secretsmanager", "GetSecretValue", SecretId=out["Secret"]))["SecretString"]
    )
    assert again == value
    described = (await cloud.ask("kms", "DescribeKey", **key))["KeyMetadata"]
    assert (described["Description"], described["Enabled"]) == ("two", False)
    await cloud.delete()
    described = (await cloud.ask("kms", "DescribeKey", **key))["KeyMetadata"]
    assert described["KeyState"] == "PendingDeletion"


async def test_more_of_a_network(cloud: Cloud) -> None:
    vpc = {"Ref": "Vpc"}
    resources: dict[str, Any] = {
        "Vpc": of("EC2::VPC", CidrBlock="10.2.0.0/16"),
        "Other": of("EC2::VPC", CidrBlock="10.3.0.0/16"),
        "Subnet": of("EC2::Subnet", VpcId=vpc, CidrBlock="10.2.1.0/24"),
        "Table": of("EC2::RouteTable", VpcId=vpc),
        "Second": of("EC2::RouteTable", VpcId=vpc),
        "Gate": of(
            "EC2::VPCEndpoint",
            VpcId=vpc,
            ServiceName={"Fn::Sub": "com.amazonaws.${AWS::Region}.s3"},
            RouteTableIds=[{"Ref": "Table"}],
        ),
        "Acl": of("EC2::NetworkAcl", VpcId=vpc),
        "In": of(
            "EC2::NetworkAclEntry",
            NetworkAclId={"Ref": "Acl"},
            RuleNumber=100,
            Protocol=6,
            RuleAction="allow",
            CidrBlock="0.0.0.0/0",
            PortRange={"From": 80, "To": 80},
        ),
        "Laid": of("EC2::SubnetNetworkAclAssociation", NetworkAclId={"Ref": "Acl"}, SubnetId={"Ref": "Subnet"}),
        "Block": of("EC2::VPCCidrBlock", VpcId=vpc, CidrBlock="10.4.0.0/16"),
        "Block6": of("EC2::VPCCidrBlock", VpcId=vpc, AmazonProvidedIpv6CidrBlock=True),
        # What the VPC has only since the block was added.
        "Inside6": of(
            "EC2::Subnet",
            VpcId=vpc,
            CidrBlock="10.2.9.0/24",
            Ipv6CidrBlock={
                "Fn::Select": [
                    0,
                    {"Fn::Cidr": [{"Fn::Select": [0, {"Fn::GetAtt": ["Vpc", "Ipv6CidrBlocks"]}]}, 1, 64]},
                ]
            },
        )
        | {"DependsOn": "Block6"},
        "Out": of("EC2::EgressOnlyInternetGateway", VpcId=vpc),
        "Names": of("EC2::DHCPOptions", DomainName="a.internal", DomainNameServers=["AmazonProvidedDNS"]),
        "Named": of("EC2::VPCDHCPOptionsAssociation", VpcId=vpc, DhcpOptionsId={"Ref": "Names"}),
        "Peer": of("EC2::VPCPeeringConnection", VpcId=vpc, PeerVpcId={"Ref": "Other"}),
        "Vpn": of("EC2::VPNGateway", Type="ipsec.1"),
        "VpnIn": of("EC2::VPCGatewayAttachment", VpcId=vpc, VpnGatewayId={"Ref": "Vpn"}),
        "Transit": of("EC2::TransitGateway", Description="one"),
        "Through": of(
            "EC2::TransitGatewayAttachment",
            VpcId=vpc,
            SubnetIds=[{"Ref": "Subnet"}],
            TransitGatewayId={"Ref": "Transit"},
        ),
        "Card": of("EC2::NetworkInterface", SubnetId={"Ref": "Subnet"}, Description="one"),
    }
    template = showing(resources, "Card.PrimaryPrivateIpAddress", "Transit.Id")
    out = await cloud.create(template)
    assert out["CardPrimaryPrivateIpAddress"].startswith("10.2.1.")
    acls = await cloud.ask("ec2", "DescribeNetworkAcls", NetworkAclIds=[out["Acl"]])
    (acl,) = acls["NetworkAcls"]
    assert [each["SubnetId"] for each in acl["Associations"]] == [out["Subnet"]]
    assert [each["RuleNumber"] for each in acl["Entries"] if not each["Egress"]] == [100]
    resources["Gate"]["Properties"]["RouteTableIds"] = [{"Ref": "Second"}]
    resources["In"]["Properties"]["PortRange"] = {"From": 443, "To": 443}
    resources["Card"]["Properties"]["Description"] = "two"
    assert await cloud.update(template) == out
    gates = (await cloud.ask("ec2", "DescribeVpcEndpoints", VpcEndpointIds=[out["Gate"]]))["VpcEndpoints"]
    assert gates[0]["RouteTableIds"] == [out["Second"]]
    await cloud.delete()
    left = {each["VpcId"] for each in (await cloud.ask("ec2", "DescribeVpcs"))["Vpcs"]}
    assert not left & {out["Vpc"], out["Other"]}


async def test_instances_and_volumes(cloud: Cloud) -> None:
    resources = {
        "Pair": of("EC2::KeyPair", KeyName="web-pair"),
        "Instance": of(
            "EC2::Instance",
            ImageId="ami-12c6146b",
            InstanceType="t3.small",
            KeyName={"Ref": "Pair"},
            AvailabilityZone="us-east-1a",
            UserData={"Fn::Base64": "hello"},
            Tags=[{"Key": "Name", "Value": "one"}],
        ),
        "Disk": of("EC2::Volume", AvailabilityZone="us-east-1a", Size=8, VolumeType="gp3"),
        "In": of(
            "EC2::VolumeAttachment",
            InstanceId={"Ref": "Instance"},
            VolumeId={"Ref": "Disk"},
            Device="/dev/sdh",
        ),
        "Address": of("EC2::EIP", Domain="vpc"),
        "At": of(
            "EC2::EIPAssociation",
            AllocationId={"Fn::GetAtt": ["Address", "AllocationId"]},
            InstanceId={"Ref": "Instance"},
        ),
    }
    template = showing(resources, "Instance.PrivateIp", "Instance.AvailabilityZone", "Pair.KeyPairId")
    out = await cloud.create(template)
    assert out["InstanceAvailabilityZone"] == "us-east-1a"
    private = await cloud.ask("ssm", "GetParameter", Name=f"/ec2/keypair/{out['PairKeyPairId']}")
    assert "PRIVATE KEY" in private["Parameter"]["Value"]
    resources["Instance"]["Properties"]["InstanceType"] = "t3.large"
    resources["Disk"]["Properties"]["Size"] = 16
    assert (await cloud.update(template))["Instance"] == out["Instance"]
    found = await cloud.ask("ec2", "DescribeInstances", InstanceIds=[out["Instance"]])
    instance = found["Reservations"][0]["Instances"][0]
    assert (instance["InstanceType"], instance["State"]["Name"]) == ("t3.large", "running")
    resources["Instance"]["Properties"]["ImageId"] = "ami-03cf127a"
    assert (await cloud.update(template))["Instance"] != out["Instance"]
    await cloud.delete()
    assert (await cloud.ask("ec2", "DescribeKeyPairs"))["KeyPairs"] == []


async def test_zones_and_records(cloud: Cloud) -> None:
    zone = {"Ref": "Zone"}
    resources: dict[str, Any] = {
        "Zone": of("Route53::HostedZone", Name="example.internal", HostedZoneConfig={"Comment": "one"}),
        "Web": of(
            "Route53::RecordSet",
            HostedZoneId=zone,
            Name="web.example.internal",
            Type="A",
            TTL="60",
            ResourceRecords=["10.0.0.1"],
        ),
        "Others": of(
            "Route53::RecordSetGroup",
            HostedZoneName="example.internal.",
            RecordSets=[
                {"Name": "a.example.internal.", "Type": "CNAME", "TTL": "5", "ResourceRecords": ["b.c"]},
                {"Name": "d.example.internal.", "Type": "TXT", "TTL": "5", "ResourceRecords": ['"x"']},
            ],
        )
        | {"DependsOn": "Zone"},
        "Check": of(
            "Route53::HealthCheck", HealthCheckConfig={"Type": "TCP", "IPAddress": "10.0.0.1", "Port": 80}
        ),
    }
    template = showing(resources, "Zone.Id")
    out = await cloud.create(template)
    assert out["Web"] == "web.example.internal" and "/" not in out["Zone"]

    async def records() -> dict[str, Any]:
        found = await cloud.ask("route53", "ListResourceRecordSets", HostedZoneId=out["Zone"])
        return {
            each["Name"]: [r["Value"] for r in each["ResourceRecords"]]
            for each in found["ResourceRecordSets"]
            if each["Type"] not in ("NS", "SOA")
        }

    assert set(await records()) == {"web.example.internal.", "a.example.internal.", "d.example.internal."}
    resources["Web"]["Properties"]["ResourceRecords"] = ["10.0.0.2"]
    resources["Others"]["Properties"]["RecordSets"].pop()
    await cloud.update(template)
    assert await records() == {"web.example.internal.": ["10.0.0.2"], "a.example.internal.": ["b.c"]}
    await cloud.delete()
    assert (await cloud.ask("route53", "ListHostedZones"))["HostedZones"] == []


async def test_namespaces_of_cloud_map(cloud: Cloud) -> None:
    vpc = (await cloud.ask("ec2", "DescribeVpcs"))["Vpcs"][0]["VpcId"]
    resources = {
        "Space": of("ServiceDiscovery::PrivateDnsNamespace", Name="web.local", Vpc=vpc),
        "Http": of("ServiceDiscovery::HttpNamespace", Name="plain"),
        "Service": of(
            "ServiceDiscovery::Service",
            Name="api",
            NamespaceId={"Ref": "Space"},
            DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 10}]},
        ),
    }
    template = showing(resources, "Space.Arn", "Service.Arn")
    out = await cloud.create(template)
    assert out["Space"].startswith("ns-") and out["SpaceArn"].endswith(out["Space"])
    resources["Service"]["Properties"]["Description"] = "two"
    assert await cloud.update(template) == out
    found = await cloud.ask("servicediscovery", "GetService", Id=out["Service"])
    assert found["Service"]["Description"] == "two"
    await cloud.delete()
    assert (await cloud.ask("servicediscovery", "ListNamespaces"))["Namespaces"] == []


async def test_stores(cloud: Cloud) -> None:
    subnets = (await cloud.ask("ec2", "DescribeSubnets"))["Subnets"][:2]
    group = (await cloud.ask("ec2", "DescribeSecurityGroups"))["SecurityGroups"][0]["GroupId"]
    resources: dict[str, Any] = {
        "Table": of(
            "DynamoDB::Table",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            TimeToLiveSpecification={"AttributeName": "until", "Enabled": True},
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
            StreamSpecification={"StreamViewType": "NEW_IMAGE"},
            Tags=[{"Key": "a", "Value": "1"}],
        ),
        "Stream": of("Kinesis::Stream", ShardCount=1, RetentionPeriodHours=48),
        "Files": of("EFS::FileSystem", Encrypted=True, FileSystemTags=[{"Key": "Name", "Value": "one"}]),
        "Mount": of(
            "EFS::MountTarget",
            FileSystemId={"Ref": "Files"},
            SubnetId=subnets[0]["SubnetId"],
            SecurityGroups=[group],
        ),
        "Point": of("EFS::AccessPoint", FileSystemId={"Ref": "Files"}),
        "Subnets": of(
            "RDS::DBSubnetGroup",
            DBSubnetGroupDescription="one",
            SubnetIds=[each["SubnetId"] for each in subnets],
        ),
        "Database": of(
            "RDS::DBInstance",
            DBInstanceClass="db.t3.micro",
            Engine="postgres",
            AllocatedStorage="20",
            MasterUsername="app",
            MasterUserPassword="correct-horse",
            DBSubnetGroupName={"Ref": "Subnets"},
        ),
    }
    template = showing(resources, "Table.Arn", "Table.StreamArn", "Stream.Arn", "Database.Endpoint.Address")
    out = await cloud.create(template)
    table = {"TableName": out["Table"]}
    assert out["TableArn"].endswith(f"table/{out['Table']}") and "/stream/" in out["TableStreamArn"]
    living = (await cloud.ask("dynamodb", "DescribeTimeToLive", **table))["TimeToLiveDescription"]
    assert living["AttributeName"] == "until"
    resources["Table"]["Properties"] |= {
        "AttributeDefinitions": [
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "by", "AttributeType": "S"},
        ],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": "by-by",
                "KeySchema": [{"AttributeName": "by", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        "Tags": [{"Key": "b", "Value": "2"}],
    }
    resources["Stream"]["Properties"]["RetentionPeriodHours"] = 24
    resources["Database"]["Properties"]["AllocatedStorage"] = "30"
    assert (await cloud.update(template))["Table"] == out["Table"]
    described = (await cloud.ask("dynamodb", "DescribeTable", **table))["Table"]
    assert [each["IndexName"] for each in described["GlobalSecondaryIndexes"]] == ["by-by"]
    tags = (await cloud.ask("dynamodb", "ListTagsOfResource", ResourceArn=out["TableArn"]))["Tags"]
    assert tags == [{"Key": "b", "Value": "2"}]
    (database,) = (await cloud.ask("rds", "DescribeDBInstances"))["DBInstances"]
    assert database["AllocatedStorage"] == 30
    del resources["Table"]["Properties"]["GlobalSecondaryIndexes"]
    resources["Table"]["Properties"]["AttributeDefinitions"].pop(0)
    resources["Table"]["Properties"]["KeySchema"] = [{"AttributeName": "by", "KeyType": "HASH"}]
    assert (await cloud.update(template))["Table"] != out["Table"]
    await cloud.delete()
    assert (await cloud.ask("dynamodb", "ListTables"))["TableNames"] == []
    assert (await cloud.ask("rds", "DescribeDBInstances"))["DBInstances"] == []


async def test_functions_and_what_would_call_them(cloud: Cloud) -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    role = {"Fn::GetAtt": ["Role", "Arn"]}
    resources: dict[str, Any] = {
        "Role": of("IAM::Role", AssumeRolePolicyDocument=trust),
        "Function": of(
            "Lambda::Function",
            Runtime="python3.12",
            Handler="index.handler",
            Role=role,
            Code={"ZipFile": "def handler(event, context): return 1"},
            Timeout=5,
        ),
        "May": of(
            "Lambda::Permission",
            FunctionName={"Ref": "Function"},
            Action="lambda:InvokeFunction",
            Principal="events.amazonaws.com",
        ),
        "Machine": of(
            "StepFunctions::StateMachine",
            RoleArn=role,
            DefinitionString='{"StartAt": "A", "States": {"A": {"Type": "Pass", "Comment": "${What}", "End": true}}}',
            DefinitionSubstitutions={"What": "one"},
        ),
        "Bus": of("Events::EventBus", Name="orders"),
        "Kept": of("Events::Archive", SourceArn={"Fn::GetAtt": ["Bus", "Arn"]}, RetentionDays=3),
        "Group": of("Scheduler::ScheduleGroup"),
        "Hourly": of(
            "Scheduler::Schedule",
            GroupName={"Ref": "Group"},
            ScheduleExpression="rate(1 hour)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": {"Fn::GetAtt": ["Function", "Arn"]}, "RoleArn": role},
        ),
    }
    template = showing(resources, "Function.Arn", "Machine.Name", "Hourly.Arn")
    out = await cloud.create(template, Capabilities=["CAPABILITY_IAM"])
    machine = await cloud.ask("stepfunctions", "DescribeStateMachine", stateMachineArn=out["Machine"])
    assert '"Comment": "one"' in machine["definition"]
    assert out["May"] in (await cloud.ask("lambda", "GetPolicy", FunctionName=out["Function"]))["Policy"]
    resources["Function"]["Properties"] |= {"Timeout": 9, "Code": {"ZipFile": "def handler(e, c): return 2"}}
    resources["Hourly"]["Properties"]["ScheduleExpression"] = "rate(2 hours)"
    resources["Machine"]["Properties"]["DefinitionSubstitutions"] = {"What": "two"}
    again = await cloud.update(template, Capabilities=["CAPABILITY_IAM"])
    assert again["Function"] == out["Function"]
    found = await cloud.ask("lambda", "GetFunction", FunctionName=out["Function"])
    assert found["Configuration"]["Timeout"] == 9
    schedule = await cloud.ask("scheduler", "GetSchedule", Name=out["Hourly"], GroupName=out["Group"])
    assert schedule["ScheduleExpression"] == "rate(2 hours)"
    machine = await cloud.ask("stepfunctions", "DescribeStateMachine", stateMachineArn=out["Machine"])
    assert '"Comment": "two"' in machine["definition"]
    await cloud.delete()
    assert (await cloud.ask("lambda", "ListFunctions"))["Functions"] == []


async def test_what_a_type_does_not_offer_is_refused_by_name(cloud: Cloud) -> None:
    resources = {
        "Table": of(
            "DynamoDB::Table",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            ContributorInsightsSpecification={"Enabled": True},
        )
    }
    made = await cloud.do("CreateStack", StackName="web", TemplateBody=json.dumps({"Resources": resources}))
    cloud.id = made["StackId"]
    assert await cloud.settle(cloud.id) == "ROLLBACK_COMPLETE"
    wanted = "portside's local cloud does not offer ContributorInsightsSpecification of AWS::DynamoDB::Table."
    assert any(wanted in each for each in await cloud.reasons())
    assert (await cloud.ask("dynamodb", "ListTables"))["TableNames"] == []
