"""A paper's hyper-parameters as defaults of settings that are declared elsewhere."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from pydantic import BaseModel, create_model

Model = TypeVar("Model", bound=BaseModel)


def with_defaults(settings: type[Model], **values: Any) -> type[Model]:  # noqa: ANN401 - whatever the fields hold
    """The same settings with other defaults; ranges and descriptions stay.

    Args:
        settings: a class of settings.
        values: field -> its new default.

    Returns:
        A subclass with the name of `settings`.

    Raises:
        pydantic.ValidationError: a field that is not there, or a default outside its range.
    """
    checked = settings.model_validate(values)
    fields: dict[str, Any] = {}
    for name in values:
        field = copy.copy(settings.model_fields[name])
        field.default = getattr(checked, name)
        fields[name] = (field.annotation, field)
    return create_model(settings.__name__, __base__=settings, __doc__=settings.__doc__, **fields)
