"""Packages that an extra of the installation brings."""

from __future__ import annotations

from importlib.util import find_spec

from forge.core.errors import InputError


def require(what: str, extra: str, *modules: str) -> None:
    """Refuse what needs a package that is not installed; before the module that imports it is loaded.

    Args:
        what: what needs it, the beginning of a sentence: "--onnx".
        extra: name of the extra in pyproject.toml.
        modules: names under which its packages are imported.

    Raises:
        InputError: names what is missing and how to install it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise InputError(
            f"{what} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f"pip install 'deepfake-bench[{extra}]'"
        )
