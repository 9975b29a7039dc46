"""A stand-in for dbt's adapter: a dispatched macro renders as a call of its name."""

from collections.abc import Callable


def dispatch(macro_name: str, macro_namespace: str) -> Callable[..., str]:
    """Return what renders the macro; `macro_namespace` is dbt's second argument and changes nothing here."""

    def render(*arguments: object) -> str:
        return f"{macro_name}({', '.join(str(argument) for argument in arguments)})"

    return render
