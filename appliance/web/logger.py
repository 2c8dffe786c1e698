"""The log of gunicorn's processes as JSON objects."""

from gunicorn.config import Config
from gunicorn.glogging import Logger

from appliance import logs


class JsonLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's logger, for ``--logger-class``: what gunicorn and the application log on standard
    error is JSON; the access log keeps its form."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        logs.to_stderr("json")
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter("json"))
