"""Write `openapi.json`, the description of everything the server answers: ``python api/make_openapi.py``."""

import json
from pathlib import Path

from recae.api import create_app

FILE = Path(__file__).with_name("openapi.json")


def main() -> None:
    """Ask the application for its description and write it beside this file."""
    document = create_app().test_client().get("/openapi.json").get_json()
    FILE.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
