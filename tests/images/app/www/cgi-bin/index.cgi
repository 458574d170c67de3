#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "${GREETING:-Hello} from my-app $(cat /app/version) on $(hostname)"
# httpd logs the responses it makes itself; this one is ours.
echo "$REMOTE_ADDR: $REQUEST_METHOD $REQUEST_URI" >&2
