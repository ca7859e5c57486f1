#!/bin/sh
# Says each line of its input in a room, by POST. It stops at the first line that the relay does not take.
#
#     echo "The backup is done." | sh examples/post.sh http://localhost:8443/
#
# A token is read from the environment variable RELAY_TOKEN. curl waits and tries again while the relay is
# away, full or restarting, or lines come faster than allowed.
set -eu
url=${1:?"usage: sh examples/post.sh URL < LINES"}

while IFS= read -r line || [ -n "$line" ]; do
  # From files, since everybody on the machine can read the arguments of a program.
  printf %s "$line" | curl --fail --silent --show-error --retry 5 --retry-connrefused \
    --data-binary @- --header @/dev/fd/3 "$url" 3<<END
Content-Type: text/plain
${RELAY_TOKEN:+Authorization: Bearer $RELAY_TOKEN}
END
done
