"""An agent built from Google's own client library, unmodified: the door's address and the pairing secret are all it is told.

stdin: first {"door", "account", "client_id", "pairing_secret"}, then {"call": "users.messages.trash", "arguments": {...}} a line.
stdout: {"result": ...} or {"status": 403, "error": "..."} a line.
"""

import json
import sys

from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError


def main():
    start = json.loads(sys.stdin.readline())
    credentials = Credentials(
        token=None,
        refresh_token=start["pairing_secret"],
        token_uri=start["door"] + "/oauth2/token",
        client_id=start["client_id"],
        client_secret="not used",
    )
    gmail = build(
        "gmail",
        "v1",
        credentials=credentials,
        client_options={"api_endpoint": f"{start['door']}/{start['account']}/"},
        static_discovery=True,
        cache_discovery=False,
    )
    for line in sys.stdin:
        wanted = json.loads(line)
        *resources, method = wanted["call"].split(".")
        target = gmail
        for resource in resources:
            target = getattr(target, resource)()
        try:
            answer = {"result": getattr(target, method)(**wanted["arguments"]).execute()}
            if answer["result"] == "":
                answer["result"] = None
        except HttpError as error:
            answer = {"status": error.status_code, "error": error.content.decode(), "reason": error.reason}
        except Exception as error:  # what the library itself makes of a broken answer
            answer = {"status": 0, "error": f"{type(error).__name__}: {error}", "reason": ""}
        print(json.dumps(answer), flush=True)


main()
