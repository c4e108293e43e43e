#!/bin/bash
# mono.sh DIR: Debian's Mono, mcs and NUnit unpacked in DIR, to run as DIR/mono and DIR/mcs.
# Touches nothing outside DIR. Does nothing when DIR is complete.
set -euo pipefail
usage() { echo "mono.sh: $1" >&2; echo "$2" >&2; exit 1; }
[ $# -eq 1 ] || usage "one folder is wanted, not $#." "Use: tools/mono.sh build/mono"
D=$(realpath -m "$1")
[ -e "$D/complete" ] && exit 0
for need in apt-get dpkg-deb; do
	command -v "$need" >/dev/null || usage "no $need here." "Install Mono 6 and NUnit 2.6 otherwise, and name a folder with mono, mcs, nunit-console and nunit.framework.dll: MONO_DIR=... tools/test_unity.sh"
done
rm -rf "$D"
mkdir -p "$D/apt/lists/partial" "$D/apt/cache/archives/partial" "$D/debs" "$D/root"
: > "$D/apt/status"
cat > "$D/apt/apt.conf" <<S
Dir::State::lists "$D/apt/lists"; Dir::State::status "$D/apt/status"; Dir::Cache "$D/apt/cache";
APT::Install-Recommends "false"; APT::Sandbox::User ""; Acquire::Languages "none"; Acquire::Retries "3";
S
export APT_CONFIG="$D/apt/apt.conf"
apt-get -qq update
# Mono's own packages only: what these need of the system (libc, zlib) every Debian has.
wanted="mono-mcs mono-runtime libnunit-cil-dev nunit-console"
packages=$(apt-get install -y --print-uris $wanted | sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p" | grep -E 'mono|nunit')
(cd "$D/debs" && apt-get -qq download $packages)
for deb in "$D"/debs/*.deb; do
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$D/root" --exclude='./usr/share/*'
done
rm -rf "$D/debs" "$D/apt"
unset APT_CONFIG
cp "$D"/root/usr/lib/cli/nunit*/*.dll "$D/root/usr/lib/nunit/"
ln -s root/usr/lib/nunit/nunit.framework.dll "$D/nunit.framework.dll"

# Started by its full path, Mono finds the rest of itself beside it.
cat > "$D/mono" <<'S'
#!/bin/sh
D=$(dirname "$(readlink -f "$0")")/root
MONO_CFG_DIR="$D/etc" LD_LIBRARY_PATH="$D/usr/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$D/usr/bin/mono-sgen" "$@"
S
cat > "$D/mcs" <<'S'
#!/bin/sh
D=$(dirname "$(readlink -f "$0")")
exec "$D/mono" "$D/root/usr/lib/mono/4.5/mcs.exe" "$@"
S
cat > "$D/nunit-console" <<'S'
#!/bin/sh
D=$(dirname "$(readlink -f "$0")")
exec "$D/mono" --debug "$D/root/usr/lib/nunit/nunit-console.exe" "$@"
S
chmod +x "$D/mono" "$D/mcs" "$D/nunit-console"
"$D/mono" --version | head -1
touch "$D/complete"
