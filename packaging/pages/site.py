# SPDX-License-Identifier: GPL-2.0-or-later
"""A hook of MkDocs (mkdocs.yml): pages that are written for the tree, as a web site of their own.

Files of the tree that pages link to and that are not below docs/ come along below `tree/`:
Markdown as pages, others as pages with their text. Manuals are shown as `man` shows them. Links
are rewritten accordingly, so that none leads out of the site. Pages that mkdocs.yml does not name
are put at the end of its navigation.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

TOP = Path(__file__).resolve().parents[2]
TREE = "tree/"
# Pages with tables that want the place of the table of contents.
WIDE = ("bench/counts.md", "compatibility.md", "faults.md", "kernels.md")
# Code, which stays as it is, or a link.
_LINK_OR_CODE = re.compile(
    r"^(?P<fence>```+|~~~+).*?^(?P=fence)[ \t]*$"
    r"|(?P<span>`+)(?!`).+?(?<!`)(?P=span)(?!`)"
    r"|(?P<head>!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?P<target>[^)\s]+)(?P<tail>[^)]*\))",
    re.MULTILINE | re.DOTALL,
)
_MANUAL = re.compile(r"^docs/man/[^/]+\.[1-9]$")
_LANGUAGES = {".h": "c", ".c": "c", ".py": "python", ".sh": "bash", ".toml": "toml"}


def place(path: str) -> str:
    """Where a file of the tree is among the sources of the site."""
    if _MANUAL.match(path):
        return path.removeprefix("docs/") + ".md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return TREE + (path if path.endswith(".md") else path + ".md")


def origin(source: str) -> str:
    """Which file of the tree a page of the site is made of: the reverse of place()."""
    return source.removeprefix(TREE) if source.startswith(TREE) else f"docs/{source}"


def resolve(page: str, target: str) -> str | None:
    """The file of the tree that a link of a page (both as paths in the tree) leads to; None for
    an address, an anchor of the same page, or what is not there."""
    if re.match(r"^(?:[a-z][a-z0-9+.-]*:|#|/)", target):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target.split("#")[0]))
    return path if (TOP / path).is_file() else None


def rewritten(markdown: str, page: str) -> str:
    """A page's text with links as they have to be in the site; `page` is its path in the tree."""
    here = posixpath.dirname(place(page))

    def link(match: re.Match[str]) -> str:
        if match["target"] is None:
            return match[0]
        path = resolve(page, match["target"])
        if path is None:
            return match[0]
        anchor = "#" + match["target"].partition("#")[2] if "#" in match["target"] else ""
        target = posixpath.relpath(place(path), here or ".")
        return f"{match['head']}{target}{anchor}{match['tail']}"

    return _LINK_OR_CODE.sub(link, markdown)


def outside(markdown: str, page: str) -> set[str]:
    """Files of the tree that a page links to and that are no pages of docs/."""
    found = set()
    for match in _LINK_OR_CODE.finditer(markdown):
        path = resolve(page, match["target"]) if match["target"] else None
        if path and (not path.startswith("docs/") or _MANUAL.match(path)):
            found.add(path)
    return found


def shown(path: str) -> str:
    """A file of the tree as a page."""
    text = (TOP / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    if _MANUAL.match(path):
        text = manual(TOP / path)
        name = Path(path).name
        title, language = f"{Path(name).stem}({name[-1]})", "text"
    else:
        title, language = path, _LANGUAGES.get(Path(path).suffix, "text")
    fence = "`" * 4
    return f"---\nsearch:\n  exclude: true\n---\n# {title}\n\n{fence}{language}\n{text}\n{fence}\n"


def manual(path: Path) -> str:
    """A manual as a terminal without colours shows it."""
    done = subprocess.run(
        [
            "groff",
            "-mandoc",
            "-Tutf8",
            "-P-c",
            "-P-b",
            "-P-u",
            "-rLL=80n",
            "-dAD=l",
            "-rHY=0",
            str(path),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip("\n")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add pages to the navigation that nobody put there."""
    named = set(re.findall(r"[\w./-]+\.md", str(config.nav)))
    docs = Path(config.docs_dir)
    others = sorted(str(path.relative_to(docs)) for path in docs.rglob("*.md"))
    rest: list[Any] = [path for path in others if path not in named]
    if rest and config.nav is not None:
        config.nav.append({"More": rest})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Bring along what pages link to, and what those link to."""
    from mkdocs.structure.files import File

    waiting = {
        path
        for file in files.documentation_pages()
        for path in outside(file.content_string, origin(file.src_uri))
    } | {f"docs/man/{path.name}" for path in (TOP / "docs/man").iterdir()}
    done: set[str] = set()
    while waiting:
        path = waiting.pop()
        done.add(path)
        content = shown(path)
        files.append(File.generated(config, place(path), content=content))
        if path.endswith(".md"):
            waiting |= outside(content, path) - done
    for file in list(files):
        if _MANUAL.match(f"docs/{file.src_uri}"):
            files.remove(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page for the site."""
    if page.file.src_uri in WIDE:
        page.meta["hide"] = ["toc"]
    text = rewritten(markdown, origin(page.file.src_uri))
    # A comment before the title would hide the title from MkDocs.
    text = re.sub(r"\A(?:<!--.*?-->\s*)+", "", text, flags=re.DOTALL)
    text = re.sub(r"^```session .*$", "```console", text, flags=re.MULTILINE)
    # In a table a bar in code needs a backslash on GitHub, and here none.
    return re.sub(r"`[^`\n]+`", lambda m: m[0].replace("\\|", "|"), text)
