"""The program that carries out a build inside its container.

Pure: makes the files, and the names by which the cloud finds its words again (`transcript.py` reads them). Plain
POSIX shell, without any other program, so that it runs in whatever image a user brings. Two scripts: the worker
runs all commands in one shell (version 0.2), the supervisor is the container's first process and starts another
worker where a command ended the first, or where the user changes. What a worker had in its variables is kept at
each command. The build needs nothing of the cloud while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portside.cloud.services.codebuild.buildspec import Buildspec

DIRECTORY = "/codebuild/driver"
SOCKET_DIRECTORY = "/codebuild/engine"
SUPERVISOR = f"{DIRECTORY}/supervisor"
_WRITTEN = ("at", "exports", "variables", "plain", "cwd")
# What an image may bring to have its tools ready sooner; the build image of portside does.
WARM = "/usr/local/libexec/portside-warm"
NEWLINE = "\x1e"  # stands for a line feed inside a value


@dataclass(frozen=True, slots=True)
class File:
    """A file of the driver: its path in the container, and whether the build's users may write to it."""

    path: str
    text: str
    writable: bool = False


def files(spec: Buildspec, nonce: str, expressions: Mapping[str, str], *, engine: bool) -> list[File]:
    """`expressions` are texts with variables and shell expressions, by a key; they are evaluated at the end.
    `engine` says whether there is a guarded socket in SOCKET_DIRECTORY."""
    made = [
        File(SUPERVISOR, _supervisor(spec, nonce, engine=engine)),
        File(f"{DIRECTORY}/worker", _worker(spec, nonce, expressions)),
        File(f"{DIRECTORY}/users", _users(spec)),
    ]
    start = "__cb_p=0 __cb_k=c __cb_i=0 __cb_f=- __cb_b=1 __cb_s=1 __cb_t=0 __cb_x=0\n"
    return made + [File(f"{DIRECTORY}/{name}", start if name == "at" else "", writable=True) for name in _WRITTEN]


def _supervisor(spec: Buildspec, nonce: str, *, engine: bool) -> str:
    link = (
        f"[ -d /var/run ] || mkdir -p /var/run\nln -sf {SOCKET_DIRECTORY}/docker.sock /var/run/docker.sock\n"
        if engine
        else ""
    )
    return f"""\
exec 2>&1 </dev/null
{link}[ ! -x {WARM} ] || {WARM} >/dev/null 2>&1 &
. {DIRECTORY}/users
cd "$CODEBUILD_SRC_DIR"
__cb_code=
while :; do
  . {DIRECTORY}/at
  __cb_before="$__cb_p:$__cb_k:$__cb_i:$__cb_s"
  __cb_user
  if [ -z "$__cb_u" ] || [ "$__cb_u" = root ]; then
    {spec.shell} {DIRECTORY}/worker "" "$__cb_code"
  else
    su "$__cb_u" -s {_absolute(spec.shell)} -c "exec {spec.shell} {DIRECTORY}/worker '$__cb_u' '$__cb_code'"
  fi
  __cb_code=$?
  . {DIRECTORY}/at
  [ "$__cb_x" = 2 ] && exit 0
  if [ "$__cb_s" = 1 ] && [ "$__cb_before" = "$__cb_p:$__cb_k:$__cb_i:$__cb_s" ]; then
    echo '{nonce}' lost "$__cb_p" "$__cb_code"
    exit 1
  fi
  [ "$__cb_x" = 1 ] && __cb_code=
done
"""


def _absolute(shell: str) -> str:
    return shell if shell.startswith("/") else f"/bin/{shell}"


def _users(spec: Buildspec) -> str:
    """Sets __cb_u to the user of phase __cb_p."""
    cases = "\n".join(f"  {index}) __cb_u={quote(spec.user(p))} ;;" for index, p in enumerate(spec.phases))
    return f"__cb_user() {{\n  case $__cb_p in\n{cases}\n  *) __cb_u= ;;\n  esac\n}}\n"


def _worker(spec: Buildspec, nonce: str, expressions: Mapping[str, str]) -> str:
    # Under `set -x` the shell is to trace the user's commands alone, so it is off in between.
    run = (
        'if [ "$__cb_tr" = 1 ]; then eval "set -x$__cb_nl$__cb_c"; else eval "$__cb_c"; fi'
        if spec.shared_shell
        else f'(cd "$CODEBUILD_SRC_DIR" && exec {spec.shell} -c "$__cb_c")'
    )
    return f"""\
__cb_me=$1 __cb_old=$2
__cb_n={quote(nonce)}
__cb_d={DIRECTORY}
__cb_nl='
'
__cb_say() {{ printf '%s\\n' "$__cb_n $*"; }}
__cb_put() {{
  __cb_v=$2 __cb_o=
  while :; do
    case $__cb_v in
    *"$__cb_nl"*) __cb_o="$__cb_o${{__cb_v%%"$__cb_nl"*}}{NEWLINE}"; __cb_v=${{__cb_v#*"$__cb_nl"}} ;;
    *) break ;;
    esac
  done
  __cb_say "$1" "$__cb_o$__cb_v"
}}
__cb_note() {{
  printf '%s\\n' "__cb_p=$__cb_p __cb_k=$__cb_k __cb_i=$__cb_i __cb_f=$__cb_f __cb_b=$__cb_b __cb_s=$__cb_s\
 __cb_t=$__cb_t __cb_x=$__cb_x" >|$__cb_d/at
}}
__cb_keep() {{
  export -p >|$__cb_d/exports
  set >|$__cb_d/variables
  pwd >|$__cb_d/cwd 2>/dev/null || :
}}
__cb_load() {{
  while IFS= read -r __cb_line || [ -n "$__cb_line" ]; do
    case $__cb_line in
    BASH*|DIRSTACK=*|EUID=*|FUNCNAME=*|GROUPS=*|LINENO=*|OPTERR=*|OPTIND=*|PPID=*|SHELLOPTS=*|UID=*|_=*) ;;
    *) printf '%s\\n' "$__cb_line" ;;
    esac
  done <$__cb_d/variables >|$__cb_d/plain
  __cb_home=$HOME
  if (. $__cb_d/plain) >/dev/null 2>&1; then . $__cb_d/plain >/dev/null 2>&1; fi
  if (. $__cb_d/exports) >/dev/null 2>&1; then . $__cb_d/exports >/dev/null 2>&1; fi
  if [ -n "$__cb_me" ]; then HOME=$__cb_home; fi
  if read -r __cb_line <$__cb_d/cwd && [ -d "$__cb_line" ]; then cd "$__cb_line"; fi
}}
__cb_size() {{
  case $__cb_p:$__cb_k in
{_sizes(spec)}
  *) __cb_z=0 ;;
  esac
}}
__cb_get() {{
  case $__cb_p:$__cb_k:$__cb_i in
{_commands(spec)}
  esac
}}
__cb_retries() {{
  case $__cb_p in
{_retries(spec)}
  *) __cb_t=0 ;;
  esac
}}
__cb_after_failure() {{
  case $__cb_p in
{_after_failure(spec)}
  *) __cb_p=99 ;;
  esac
}}
__cb_ended() {{
  case $- in
  *x*) __cb_tr=1; set +x ;;
  *) __cb_tr=0 ;;
  esac
  if [ "$1" -ne 0 ]; then
    __cb_say failed "$__cb_p" "$__cb_k" "$__cb_i" "$1"
    if [ "$__cb_f" = - ]; then __cb_f=$__cb_k:$__cb_i:$1; fi
    __cb_i=99999
  fi
  __cb_i=$((__cb_i + 1))
  __cb_keep
}}
__cb_next() {{
  while :; do
    if [ "$__cb_p" -ge {len(spec.phases)} ]; then
      __cb_finish
      return 1
    fi
    if [ "$__cb_s" = 1 ]; then
      __cb_user
      if [ "$__cb_u" = root ]; then __cb_u=; fi
      if [ "$__cb_u" != "$__cb_me" ]; then
        __cb_x=1
        __cb_note
        __cb_keep
        exit 93
      fi
      __cb_s=0 __cb_x=0
      __cb_retries
      __cb_say phase "$__cb_p"
    fi
    __cb_size
    if [ "$__cb_i" -lt "$__cb_z" ]; then
      __cb_note
      __cb_say run "$__cb_p" "$__cb_k" "$__cb_i"
      __cb_get
      return 0
    fi
    if [ "$__cb_k" = c ]; then
      __cb_k=f __cb_i=0
      continue
    fi
    if [ "$__cb_f" != - ] && [ "$__cb_t" -gt 0 ]; then
      __cb_t=$((__cb_t - 1))
      __cb_say again "$__cb_p" "$__cb_f"
      __cb_f=- __cb_k=c __cb_i=0
      continue
    fi
    __cb_say done "$__cb_p" "$__cb_f"
    if [ "$__cb_f" != - ]; then
      __cb_b=0
      CODEBUILD_BUILD_SUCCEEDING=0
      export CODEBUILD_BUILD_SUCCEEDING
      __cb_after_failure
    else
      __cb_p=$((__cb_p + 1))
    fi
    __cb_k=c __cb_i=0 __cb_f=- __cb_s=1
    __cb_note
  done
}}
__cb_finish() {{
  cd "$CODEBUILD_SRC_DIR" || :
{_values(expressions)}
{_exports(spec.exported)}
  __cb_say end
  __cb_x=2
  __cb_note
}}
. $__cb_d/users
__cb_tr=0
trap '{{ __cb_keep; }} 2>/dev/null' EXIT
if [ -s $__cb_d/exports ]; then __cb_load; fi
__cb_me=$1 __cb_old=$2
. $__cb_d/at
if [ -n "$__cb_old" ]; then __cb_ended "$__cb_old"; fi
while __cb_next; do
  {run}
  {{ __cb_ended $?; }} 2>/dev/null
done
"""


def quote(text: str) -> str:
    """One word for the shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def _sizes(spec: Buildspec) -> str:
    return "\n".join(
        f"  {index}:{kind}) __cb_z={len(commands)} ;;"
        for index, phase in enumerate(spec.phases)
        for kind, commands in (("c", phase.commands), ("f", phase.finally_))
        if commands
    )


def _commands(spec: Buildspec) -> str:
    return "\n".join(
        f"  {index}:{kind}:{number}) __cb_c={quote(command)} ;;"
        for index, phase in enumerate(spec.phases)
        for kind, commands in (("c", phase.commands), ("f", phase.finally_))
        for number, command in enumerate(commands)
    )


def _retries(spec: Buildspec) -> str:
    return "\n".join(
        f"  {index}) __cb_t={phase.retries} ;;" for index, phase in enumerate(spec.phases) if phase.retries
    )


def _after_failure(spec: Buildspec) -> str:
    """A failed build phase still has its post_build; a failed install or pre_build ends it."""
    return "\n".join(
        f"  {index}) __cb_p={index + 1} ;;"
        for index, phase in enumerate(spec.phases)
        if phase.on_failure == "CONTINUE" or (not phase.on_failure and phase.name == "build")
    )


def _values(expressions: Mapping[str, str]) -> str:
    lines = []
    for key, text in expressions.items():
        inside = text.replace("\\", "\\\\").replace('"', '\\"')
        expanded = quote(f'printf "%s" "{inside}"')
        lines.append(f'  __cb_v=$(eval {expanded} 2>/dev/null) || :\n  __cb_put "value {key}" "$__cb_v"')
    return "\n".join(lines) or "  :"


def _exports(names: Iterable[str]) -> str:
    lines = [f'  if [ -n "${{{name}+x}}" ]; then __cb_put "export {name}" "${name}"; fi' for name in names]
    return "\n".join(lines) or "  :"
