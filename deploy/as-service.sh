#!/bin/sh
# Run one command of trader as the systemd service does: its user, settings, keys and data directory.
#
#   sudo /opt/trader/bin/as-service status
#
# What root writes into that directory the service, whose user owns nothing else, could not open.
set -eu
if [ "$(id -u)" != 0 ]; then
	printf '%s\n' 'as-service: only root can become the user of the service; put sudo in front.' >&2
	exit 77
fi
secrets=/etc/trader/credentials
set -- /opt/trader/bin/trader "$@"
for file in "$secrets"/trader_*; do
	[ -e "$file" ] && set -- "--property=LoadCredential=${file##*/}:$file" "$@"
done
exec systemd-run --quiet --collect --wait --pty --pipe --service-type=exec \
	--property=DynamicUser=yes --property=User=trader --property=StateDirectory=trader \
	--property=StateDirectoryMode=0700 --property=UMask=0077 --property=WorkingDirectory=/var/lib/trader \
	--property=EnvironmentFile=-/etc/trader/trader.env \
	--setenv=TRADER_DATA_DIR=/var/lib/trader --setenv=HOME=/var/lib/trader "$@"
