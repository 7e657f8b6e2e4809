"""What a build specification says, and how a wrong one is refused."""

import pytest

from portside.cloud.services.codebuild.buildspec import BuildspecError, parse

WHOLE = """
version: 0.2
run-as: builder
env:
  shell: bash
  variables: {YES: yes, NUMBER: 1.10}
  parameter-store: {P: /a/b}
  secrets-manager: {S: "id:key"}
  exported-variables: [OUT]
  git-credential-helper: yes
proxy: {upload-artifacts: no, logs: no}
phases:
  install:
    run-as: root
    runtime-versions: {nodejs: 18}
    commands: [one]
  build:
    on-failure: ABORT
    commands:
      - two
      - |
        several
        lines
    finally: [three]
reports: {unit: {files: ['*.xml'], base-directory: out, file-format: junitxml}}
artifacts:
  files: a.json
  discard-paths: yes
  name: n-$(date)
  secondary-artifacts: {second: {files: ['**/*'], base-directory: dist, exclude-paths: [x]}}
cache: {paths: [node_modules/**/*]}
"""


def test_the_whole_of_it():
    spec = parse(WHOLE)
    install, _, build, post_build = spec.phases
    assert (install.commands, install.runtimes, spec.user(install)) == (("one",), ("nodejs: 18",), "root")
    assert (build.commands, build.finally_, build.on_failure) == (("two", "several\nlines\n"), ("three",), "ABORT")
    assert spec.user(build) == "builder"
    assert post_build.commands == ()
    assert spec.declared == ("install", "build")
    assert spec.shared_shell
    assert spec.variables == {"YES": "yes", "NUMBER": "1.10"}
    assert (spec.parameters, spec.secrets, spec.exported) == ({"P": "/a/b"}, {"S": "id:key"}, ("OUT",))
    assert spec.artifacts is not None
    assert (spec.artifacts.files, spec.artifacts.discard_paths) == (("a.json",), True)
    assert spec.secondary[0].identifier == "second"
    assert spec.reports[0].format == "JUNITXML"
    assert spec.cache_paths == ("node_modules/**/*",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping"),
        ("phases: {}", "the key version is missing"),
        ("version: 0.9\nphases: {}", "invalid version 0.9"),
        ("version: 0.2", "the key phases is missing"),
        ("version: 0.2\nphases: {deploy: {commands: [a]}}", "unknown phase deploy"),
        ("version: 0.2\nphases: {build: {}}", "phases.build: commands is missing"),
        ("version: 0.2\nphases: {build: {command: [a]}}", "phases.build: unknown key command"),
        ("version: 0.2\nphases: {build: {commands: [a: b]}}", r"phases.build.commands\[0\]: must be text"),
        ("version: 0.2\nphases: {build: {commands: [a], on-failure: NEVER}}", "on-failure: must be ABORT"),
        ("version: 0.2\nphases: {build: {commands: [a], on-failure: RETRY-x.*}}", "offers RETRY and RETRY-n"),
        ("version: 0.2\nphases: {}\nbatch: {build-list: []}", "does not offer batch"),
        ("version: 0.2\nphases: {}\nenv: {shell: powershell.exe}", "env.shell: powershell.exe is not offered"),
        ("version: 0.2\nphases: {}\nenv: {variables: {CODEBUILD_X: 1}}", "reserved"),
        ("version: 0.2\nphases: {}\nenv: {exported-variables: [AWS_X]}", "AWS_X cannot be exported"),
        ("version: 0.2\nphases: {}\nartifacts: {name: x}", "artifacts: files is missing"),
        ("version: 0.2\nphases: {}\nreports: {r: {files: [a], file-format: CLOVERXML}}", "JUNITXML only"),
        ("version: 0.2\nphases: {}\nunknown: 1", "unknown key unknown"),
        ("version: 0.2\nenvironment_variables: {}\nphases: {}", "unknown key environment_variables"),
        ("version: 0.2\nphases: [", "line 2, column 10"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, message):
    with pytest.raises(BuildspecError, match=message):
        parse(text)


def test_the_oldest_form():
    spec = parse("version: 0.1\nenvironment_variables: {plaintext: {A: b}}\nphases: {build: {commands: [c]}}")
    assert not spec.shared_shell
    assert spec.variables == {"A": "b"}
