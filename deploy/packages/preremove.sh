#!/bin/sh
# Stops the service when the package is removed, not when a newer one takes its place.
set -e
if [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
	case "$1" in
	remove | 0) systemctl disable --now loopmesh.service ;;
	esac
fi
