"""What was said, on disk, where the user wants that: the turns that the next session is told."""

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from voiced.core.memory import Said
from voiced.edge.store import LateFile

logger = logging.getLogger(__name__)


class _Kept(BaseModel):
    # Built when used: what pydantic loads for a dataclass takes 2 MB.
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    turns: list[Said]


class MemoryFile(LateFile):
    """Turns in a JSON file; fits :class:`voiced.ports.Memories`.

    Without turns there is no file. One that cannot be read is set aside, until there are no turns once more.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "memory")
        self._aside = path.with_name(f"{path.name}.broken")

    def load(self) -> tuple[Said, ...]:
        """Return what was saved last; nothing if it cannot be read, which is logged."""
        try:
            return tuple(_Kept.model_validate_json(self.path.read_bytes(), strict=True).turns)
        except FileNotFoundError:
            return ()
        except OSError as exc:
            logger.warning("the memory %s cannot be read, so nothing is remembered: %s", self.path, exc)
            return ()
        except ValidationError as exc:
            self._set_aside(exc)
            return ()

    def save(self, turns: Sequence[Said]) -> None:
        """Keep ``turns`` and nothing else; does not wait for the disk, and one that refuses is logged."""
        self.write(_Kept(turns=list(turns)).model_dump_json() if turns else None)

    def erase(self) -> None:
        """Delete all that was ever kept, and wait until that is done."""
        self.save(())
        self.wait()

    def _delete(self) -> None:
        super()._delete()
        self._aside.unlink(missing_ok=True)

    def _set_aside(self, exc: ValidationError) -> None:
        wrong = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "it"
        said = f"{where}: {wrong['msg']}"
        try:
            self.path.replace(self._aside)
        except OSError as refused:
            said += f"; and it cannot be set aside: {refused}"
        logger.warning(
            "the memory %s is damaged (%s); it is kept as %s, and nothing is remembered",
            *(self.path, said, self._aside.name),
        )
