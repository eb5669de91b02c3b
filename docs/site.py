"""What MkDocs does beside its own work: the README as the first page, the reference, links out of docs."""

import re
import tempfile
from pathlib import Path, PurePosixPath

import pdoc
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")
TITLE = re.compile(r"^(```\w+) title=(\S+)$", re.MULTILINE)
REFERENCE = "# Reference\n\n[`penglai`](reference/penglai.html): the Python API, from its docstrings.\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    files.append(File.generated(config, "index.md", content=adapted(readme, PurePosixPath(), config)))
    files.append(File.generated(config, "reference.md", content=REFERENCE))
    with tempfile.TemporaryDirectory() as directory:
        pdoc.pdoc("penglai", output_directory=Path(directory))
        for path in Path(directory).rglob("*"):
            if path.is_file() and path.name != "index.html":
                uri = f"reference/{path.relative_to(directory).as_posix()}"
                files.append(File.generated(config, uri, content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_others: object) -> str:
    """What lies outside of docs is read where the source is."""
    if page.file.src_uri in ("index.md", "reference.md"):
        return markdown
    return adapted(markdown, PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent, config)


def adapted(markdown: str, directory: PurePosixPath, config: MkDocsConfig) -> str:
    """The text of a page of `directory`, with links and titles of code as the site wants them."""

    def relink(match: re.Match[str]) -> str:
        anchor = match[2] or ""
        target = (ROOT / directory / match[1]).resolve()
        if not target.exists():
            return match[0]  # which MkDocs refuses
        inside = target.is_relative_to(ROOT / "docs") and target.is_file()
        if inside:
            return match[0] if directory.parts else f"]({target.relative_to(ROOT / 'docs')}{anchor})"
        if target == ROOT / "README.md":
            return f"]({'../' * (len(directory.parts) - 1)}index.md{anchor})"
        return f"]({config.repo_url.rstrip('/')}/blob/main/{target.relative_to(ROOT)}{anchor})"

    return TITLE.sub(r'\1 title="\2"', LINK.sub(relink, markdown))
