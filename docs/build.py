"""The reference of all public modules as HTML, made from their docstrings by pdoc, with the guides beside it.

    python docs/build.py [--out DIR]

Needs the extra [dev]. The pages need no network: styles, scripts and the index of the search lie beside them. Whatever
pdoc warns of is an error.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import get_type_hints

from pdoc import doc, docstrings, extract, render
from pdoc.render_helpers import to_html

DOCS = Path(__file__).parent
SPECS = ("molaugerino", r"!molaugerino\.(__main__|data|recipes)(\.|$)")  # data are no modules
CODE = re.compile(  # in backticks, indented, or an interpreter's session
    r"```.*?```|`[^`\n]*`|^(?:> ?)*(?: {4})[^\n]*$|^(?:> ?)*>>>.*?(?=\n[> ]*\n|\Z)", re.DOTALL | re.MULTILINE
)
EMPHASIS = re.compile(r"\*\*[^*\n]+\*\*|(?<![\w*])\*\w[\w -]*\*(?![\w*])")  # **z:**, *kept*, not (*batch, 3) or a * b
STYLE = "main.pdoc { max-width: 54rem; margin: 2rem auto; padding: 0 1rem } pre { overflow-x: auto }"


def build(out: Path) -> int:
    """Write the pages; returns how many modules they tell of."""
    names = list(extract.walk_specs(SPECS))
    for name in names:  # what other libraries warn of, they do here
        complete(import_module(name))
    render.configure(docformat="google", footer_text="molaugerino", show_source=False, math=False)
    as_written = docstrings.convert
    docstrings.convert = lambda text, form, source: literal(as_written(text, form, source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            modules = {name: doc.Module.from_name(name) for name in names}
            for name, module in modules.items():
                forget_torch(module)
                path = out / f"{name.replace('.', '/')}.html"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(render.html_module(module, modules), encoding="utf-8")
            (out / "search.js").write_text(render.search_index(modules), encoding="utf-8")
    finally:
        docstrings.convert = as_written
    (out / "guides").mkdir(exist_ok=True)
    for name in guides():
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        (out / "guides" / f"{name}.html").write_text(page(title_of(text), for_pages(text)), encoding="utf-8")
    (out / "index.html").write_text(page("molaugerino", contents(names)), encoding="utf-8")
    return len(names)


def complete(module: ModuleType) -> None:
    """Tell pdoc what it does not find: types in named tuples, and what a package offers under its own name."""
    for own in vars(module).values():
        if isinstance(own, type) and issubclass(own, tuple) and own.__module__ == module.__name__:
            own.__annotations__.update(get_type_hints(own))
    inside = f"{module.__name__}."
    found = {name: getattr(module, name) for name in dir(module)}  # those that are imported when asked for, too
    offered = [
        f"`{v.__module__}.{k}`" for k, v in found.items() if str(getattr(v, "__module__", "")).startswith(inside)
    ]
    if hasattr(module, "__path__") and offered:
        module.__doc__ = f"{module.__doc__}\n\nOffers " + ", ".join(offered) + "."


def forget_torch(module: doc.Module) -> None:
    """Methods without a docstring have that of the class of ours that they fill in, but none of torch's."""
    for found in module.classes:
        for name, member in found.members.items():
            own = vars(found.obj).get(name)
            if isinstance(own, FunctionType) and not own.__doc__ and not described(found.obj, name):
                member.docstring = ""


def described(found: type, name: str) -> bool:
    """Whether the first class above one that has a docstring for a method is of this package."""
    above = (base for base in found.__mro__[1:] if getattr(vars(base).get(name), "__doc__", None))
    return next(above, object).__module__.startswith("molaugerino")


def literal(text: str) -> str:
    """Markdown in which stars are stars, so that shapes and products do not turn into emphasis; code is left alone.

    Example:
        >>> print(literal("(*batch, 3) is *kept*, as in `a * b`"))
        (\\*batch, 3) is *kept*, as in `a * b`
    """
    kept = sorted((m.span() for p in (CODE, EMPHASIS) for m in p.finditer(text)), key=lambda span: span)
    inside = [any(start <= k < end for start, end in kept) for k in range(len(text))]
    return "".join("\\*" if c == "*" and not code else c for c, code in zip(text, inside, strict=True))


def guides() -> list[str]:
    """Names of the guides, in the order in which docs/README.md lists them."""
    return re.findall(r"^- \[.*?\]\(([\w-]+)\.md\)", (DOCS / "README.md").read_text(encoding="utf-8"), re.MULTILINE)


def title_of(text: str) -> str:
    """What stands in the first heading."""
    return text.partition("\n")[0].lstrip("# ")


def for_pages(text: str) -> str:
    """A guide as HTML: links to other guides lead to their pages, those out of this folder are left out."""
    text = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", text)
    text = re.sub(r"\]\(([\w-]+)\.md\)", r"](\1.html)", text)
    return '<p><a href="../index.html">molaugerino</a></p>\n' + to_html(text)


def contents(names: Iterable[str]) -> str:
    """The first page: the guides, then the modules."""
    texts = {name: (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in guides()}
    titles = [(f"guides/{name}.html", title_of(text)) for name, text in texts.items()]
    modules = [(f"{name.replace('.', '/')}.html", name) for name in names if "._" not in name]
    lists = ("".join(_items(pairs)) for pairs in (titles, modules))
    return "<h1>molaugerino</h1>\n<h2>Guides</h2>\n<ul>{}</ul>\n<h2>Reference</h2>\n<ul>{}</ul>\n".format(*lists)


def _items(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for link, text in pairs:
        yield f'<li><a href="{link}">{html.escape(text)}</a></li>\n'


def page(title: str, body: str) -> str:
    """A page in the styles of the reference."""
    template = render.env.from_string(
        '{% extends "frame.html.jinja2" %}{% block title %}{{ title }}{% endblock %}'
        "{% block style %}{{ super() | safe }}<style>{{ style }}</style>{% endblock %}"
        '{% block body %}<main class="pdoc">{{ body | safe }}</main>{% endblock %}'
    )
    return template.render(title=title, style=STYLE, body=body)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("build/docs"), help="folder to write (default: build/docs)")
    out = parser.parse_args().out
    modules = build(out)
    print(f"{modules} modules and {len(guides())} guides in {out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
