#!/bin/sh
# Install trader as a systemd service, upgrade it in place, or take it away again.
#
#   deploy/install.sh              install or upgrade (run it again after `git pull`); nothing is started on its own
#   deploy/install.sh uninstall    stop and remove the service and /opt/trader; settings, keys and state stay
#   deploy/install.sh purge        also remove settings, keys and state (asks, or --yes)
#
# Environment: DESTDIR (install into an image instead of this machine), PYTHON, TORCH_INDEX.
set -eu

root=${DESTDIR:-}
prefix=$root/opt/trader
etc=$root/etc/trader
unit=$root/etc/systemd/system/trader.service
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=${PYTHON:-python3}

say() { printf '%s\n' "$*"; }
die() { printf 'install.sh: %s\n' "$*" >&2; exit "${code:-1}"; }

booted() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

install_it() {
	[ "$(id -u)" = 0 ] || code=77 die "must write to /opt and /etc; run it as root."
	"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
		code=78 die "needs Python 3.11 or newer; install it, or set PYTHON."
	[ -x "$prefix/bin/python" ] || "$python" -m venv "$prefix"
	# scripts name the interpreter they run with, so an image is built where it will be used: under /opt/trader
	"$prefix/bin/python" "$here/deploy/install_torch.py" "$here/constraints.txt" ${TORCH_INDEX:+"$TORCH_INDEX"}
	build=$(mktemp -d)
	trap 'rm -rf "$build"' EXIT
	# built from a copy, so that nothing is left in the checkout and a checkout that is not ours to write will do
	for part in pyproject.toml setup.py README.md LICENSE trader deploy; do cp -R "$here/$part" "$build/"; done
	"$prefix/bin/python" -m pip install -q --disable-pip-version-check --constraint "$here/constraints.txt" \
		--upgrade --force-reinstall --no-deps "$build"
	"$prefix/bin/python" -m pip install -q --disable-pip-version-check --constraint "$here/constraints.txt" "$build"
	rm -rf "$prefix/share/doc"
	mkdir -p "$prefix/share/doc"
	cp -R "$here"/docs/. "$prefix/share/doc/"
	install -d -m 0755 "$etc"
	install -d -m 0700 "$etc/credentials"
	for name in trader_api_key trader_api_secret trader_status_token trader_alerts__urls trader_alerts__ping; do
		[ -e "$etc/credentials/$name" ] || install -m 0600 /dev/null "$etc/credentials/$name"
	done
	[ -e "$etc/trader.env" ] || settings >"$etc/trader.env"
	chmod 0640 "$etc/trader.env"
	install -D -m 0644 "$here/deploy/trader.service" "$unit"
	install -m 0755 "$here/deploy/as-service.sh" "$prefix/bin/as-service"
	if booted; then systemctl daemon-reload; fi
	say "Installed $("$prefix/bin/trader" --version)."
	say "Settings: $etc/trader.env. Keys: $etc/credentials/trader_api_key and trader_api_secret."
	say "Start it with: systemctl enable --now trader; after an upgrade: systemctl restart trader"
	say "Ask it with: $prefix/bin/as-service status"
}

settings() {
	cat <<-'SETTINGS'
		# Settings of the trader service; every one is explained in .env.example of the project.
		# Keys do not belong here: put them into /etc/trader/credentials, one file each.
		TRADER_VENUE=sim
		#TRADER_VENUE=testnet
		#TRADER_DRY_RUN=true
		TRADER_STRATEGY=ada-ar-16h
	SETTINGS
}

remove_it() {
	[ "$(id -u)" = 0 ] || code=77 die "must remove from /opt and /etc; run it as root."
	if booted && [ -e "$unit" ]; then systemctl disable --now trader || true; fi
	rm -f "$unit"
	rm -rf "$prefix"
	if booted; then systemctl daemon-reload; fi
}

uninstall() {
	remove_it
	say "Removed. Settings and keys stay in $etc, the journal in $root/var/lib/private/trader."
}

purge() {
	if [ "${1:-}" != --yes ]; then
		printf 'Settings, keys and the journal of every trade are deleted. Type "delete" to go on: '
		read -r answer
		[ "$answer" = delete ] || die "nothing was removed."
	fi
	remove_it
	rm -rf "$etc" "$root/var/lib/private/trader" "$root/var/lib/trader"
	say "Purged."
}

case ${1:-install} in
	install) install_it ;;
	uninstall) uninstall ;;
	purge) shift; purge "$@" ;;
	*) code=2 die "knows install, uninstall and purge, not '$1'." ;;
esac
