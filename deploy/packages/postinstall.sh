#!/bin/sh
# Makes the user of the service, and lets a service that ran go on with the new program. It
# starts and enables nothing: a node needs its configuration first.
set -e
if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
	systemd-sysusers loopmesh.conf
	systemctl daemon-reload
	systemctl try-restart loopmesh.service
fi
