# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion for bash, zsh and fish, from the table. Pure.

Names of links and peers come from `usb4rdmactl --complete KIND`, which gives up
after 0.2 s when no daemon answers.
"""

from __future__ import annotations

from .table import COMMANDS, DEFAULT, Argument, Command, Option

_LIVE = ("link", "peer", "any")
HEAD = "# SPDX-License-Identifier: GPL-2.0-or-later\n"


def script(shell: str) -> str:
    """The completion script for bash, zsh or fish."""
    return {"bash": bash, "zsh": zsh, "fish": fish}[shell]()


def _words(argument: Argument) -> str:
    """Shell code whose output is what the argument may be."""
    if argument.choices:
        return " ".join(argument.choices)
    if argument.kind in _LIVE:
        return f"$(usb4rdmactl --complete {argument.kind} 2>/dev/null)"
    return ""


def bash() -> str:
    """For bash: one case a verb."""
    out = HEAD + "# bash completion for usb4rdmactl\n_usb4rdmactl() {\n"
    out += "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
    out += "    local verb= words= place=0 i\n    COMPREPLY=()\n"
    out += "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    out += "        case ${COMP_WORDS[i]} in -*|=) ;; *)\n"
    out += '            if [ -z "$verb" ]; then verb=${COMP_WORDS[i]}; '
    out += "else place=$((place + 1)); fi ;;\n        esac\n    done\n"
    out += "    case $verb in\n"
    for command in (DEFAULT, *COMMANDS):
        out += f"    {command.name or chr(39) * 2})\n"
        flags = " ".join(o.flag for o in command.options)
        if not command.name:
            flags += " --help --version"
            names = " ".join(c.name for c in COMMANDS)
            out += f'        words="{names}"\n'
        values = [o for o in command.options if o.choices]
        takes = [o for o in command.options if o.metavar and not o.choices]
        if values or takes:
            out += "        case $prev in\n"
            for option in values:
                out += f'        {option.flag}) words="{" ".join(option.choices)}"; flags= ;;\n'
            for option in takes:
                reply = 'compgen -f -- "$cur"' if option.name in ("plot", "output") else ""
                fill = f"mapfile -t COMPREPLY < <({reply}); " if reply else ""
                out += f"        {option.flag}) {fill}return ;;\n"
            out += "        esac\n"
        if command.arguments:
            out += "        case $place in\n"
            for number, argument in enumerate(command.arguments):
                words = _words(argument)
                if argument.kind == "file":
                    out += f'        {number}) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;\n'
                elif words:
                    out += f'        {number}) words="$words {words}" ;;\n'
            out += "        esac\n"
        out += f'        [[ $cur == -* ]] && words="{flags.strip()}" ;;\n'
    out += "    esac\n"
    out += '    [ -z "$words" ] || mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY '
    out += '< <(compgen -W "$words" -- "$cur")\n'
    return out + "}\ncomplete -F _usb4rdmactl usb4rdmactl\n"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_text(text: str) -> str:
    return text.replace("[", "(").replace("]", ")").replace(":", " -")


def _zsh_option(option: Option) -> str:
    spec = option.flag
    if option.metavar:
        spec += "=-" if option.constant is not None else "="
    spec += f"[{_zsh_text(option.help)}]"
    if option.metavar:
        values = f"({' '.join(option.choices)})" if option.choices else " "
        if option.name in ("plot", "output"):
            values = "_files"
        spec += f":{'' if option.constant is None else ':'}{option.name}:{values}"
    return _quote(spec)


def zsh() -> str:
    """For zsh: _arguments a verb."""
    out = "#compdef usb4rdmactl\n" + HEAD
    out += '_usb4rdmactl_names() { compadd -- ${(f)"$(usb4rdmactl --complete $1 2>/dev/null)"} }\n'
    out += "_usb4rdmactl() {\n    local curcontext=$curcontext state line\n"
    out += "    _arguments -C '--help[help]' '--version[version]' \\\n"
    out += "".join(f"        {_zsh_option(o)} \\\n" for o in DEFAULT.options)
    out += "        '1:command:->verb' '*::argument:->rest'\n    case $state in\n    verb)\n"
    out += "        local -a verbs=(\n"
    out += "".join(f"            {_quote(f'{c.name}:{_zsh_text(c.help)}')}\n" for c in COMMANDS)
    out += "        )\n        _describe command verbs ;;\n    rest)\n        case $line[1] in\n"
    for command in COMMANDS:
        parts = [_zsh_option(o) for o in command.options]
        parts += [_quote(_zsh_argument(n + 1, a)) for n, a in enumerate(command.arguments)]
        if parts:
            out += f"        {command.name}) _arguments {' '.join(parts)} ;;\n"
    return out + '        esac ;;\n    esac\n}\n_usb4rdmactl "$@"\n'


def _zsh_argument(number: int, argument: Argument) -> str:
    values = " "
    if argument.choices:
        values = f"({' '.join(argument.choices)})"
    elif argument.kind in _LIVE:
        values = f"_usb4rdmactl_names {argument.kind}"
    elif argument.kind == "file":
        values = "_files"
    return f"{number}:{':' if argument.optional else ''}{argument.name}:{values}"


def fish() -> str:
    """For fish: one line an option and argument."""
    out = HEAD + "# fish completion for usb4rdmactl\ncomplete -c usb4rdmactl -f\n"
    none = "__fish_use_subcommand"
    for command in COMMANDS:
        out += f"complete -c usb4rdmactl -n {none} -a {command.name} -d {_quote(command.help)}\n"
    out += f"complete -c usb4rdmactl -n {none} -l version -d 'print the version'\n"
    for command in (DEFAULT, *COMMANDS):
        when = _quote(f"__fish_seen_subcommand_from {command.name}") if command.name else none
        for option in command.options:
            out += _fish_option(when, option)
        for argument in command.arguments:
            out += _fish_argument(when, command, argument)
    return out


def _fish_option(when: str, option: Option) -> str:
    line = f"complete -c usb4rdmactl -n {when} -l {option.flag[2:]} -d {_quote(option.help)}"
    if option.choices:
        line += f" {'-x' if option.constant is None else ''} -a {_quote(' '.join(option.choices))}"
    elif option.metavar:
        line += " -r -F" if option.name in ("plot", "output") else " -x"
    return line.replace("  ", " ") + "\n"


def _fish_argument(when: str, command: Command, argument: Argument) -> str:
    if argument.kind == "file":
        return f"complete -c usb4rdmactl -n {when} -F\n"
    if argument.choices:
        words = " ".join(argument.choices)
    elif argument.kind in _LIVE:
        words = f"(usb4rdmactl --complete {argument.kind} 2>/dev/null)"
    else:
        return ""
    return f"complete -c usb4rdmactl -n {when} -a {_quote(words)}\n"
