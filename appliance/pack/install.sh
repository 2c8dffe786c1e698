#!/bin/sh
# Sets up this host as a Python package index, from this medium alone:
#   sudo sh install [--key FILE] [-e NAME=VALUE ...]
# --key names a public key of minisign that must have signed the medium, -e a variable of the
# playbook. Written by `pyindex bundle --with-appliance`; see docs/guides/air-gap.md.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CDPATH=
LC_ALL=C
export PATH CDPATH LC_ALL
umask 022

fail() {
  echo "install: $1" >&2
  exit 1
}

[ "${1-}" != --help ] || { sed -n 's/^# //p' "$0" | head -n 4; exit; }
[ "$(uname -m)" = x86_64 ] || fail "this host is $(uname -m), x86_64 required"
[ "$(id -u)" = 0 ] || fail "root required; run: sudo sh $0"
key=
for argument; do # everything but --key is for ansible-playbook
  shift
  case $argument in
    --key) take=1; continue ;;
    --key=*) argument=${argument#--key=} take=1 ;;
  esac
  if [ -n "${take-}" ]; then
    take=
    key=$(sed -n 2p "$argument") && [ -n "$key" ] || fail "--key: expected the file of a public key"
  else
    set -- "$@" "$argument"
  fi
done
[ -z "${take-}" ] || fail "--key: expected the file of a public key"
medium=$(cd "$(dirname "$0")" && pwd)
sums=appliance/SHA256SUMS
[ -f "$medium/$sums" ] || fail "$medium/$sums: no such file; write the medium again"

# Not /tmp, where programs may be forbidden to run (noexec).
work=/opt/.pyindex-install
mkdir -p /opt
exec 9</opt
flock -n 9 || fail "another install is running; wait until it has ended"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
rm -rf "$work"
mkdir -m 755 "$work" # users that the playbook becomes run its Python, too

# Only verified copies are used: the medium may have other files, and no modes.
mkdir "$work/appliance"
cp "$medium/$sums" "$work/$sums"
if [ -n "$key" ]; then
  command -v minisign >/dev/null ||
    fail "minisign is not installed; verify the medium on another machine, then omit --key"
  cp "$medium/$sums.minisig" "$work/$sums.minisig" ||
    fail "$medium is not signed; nothing was run"
  minisign -V -q -P "$key" -m "$work/$sums" >&2 ||
    fail "$medium/$sums: not signed by this key; nothing was run"
elif [ -f "$medium/$sums.minisig" ]; then
  echo "install: the medium is signed, and no --key was passed: signature not verified"
fi
while IFS= read -r line; do
  name=${line#*  } # after the digest
  mkdir -p "$(dirname "$work/$name")"
  cp "$medium/$name" "$work/$name" ||
    fail "$medium/$name: cannot be copied to /opt; nothing was run"
done <"$work/$sums"
(cd "$work" && sha256sum --check --strict --quiet "$sums" >&2) ||
  fail "$medium differs from $sums; nothing was run; write the medium again"

# shellcheck source=/dev/null
. "$work/appliance/settings" # version, archive, strip, url, options
if [ -n "$archive" ]; then
  mkdir "$work/python"
  tar -xf "$work/appliance/pack/$archive" --no-same-owner --strip-components="$strip" \
    -C "$work/python" || fail "$archive: cannot be unpacked into /opt, see above"
  python=$work/python/bin/python$version
else
  python=$(command -v "python$version" || command -v python3 || echo false)
  [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$version" ] ||
    fail "this host has no Python $version, which the medium requires; write the medium again with --python ARCHIVE, or with the --python-version of this host"
fi

unpack() { # DIRECTORY WHEEL...
  "$python" -I -c 'import sys, zipfile
for wheel in sys.argv[2:]:
    zipfile.ZipFile(wheel).extractall(sys.argv[1])' "$@" ||
    fail "the wheels cannot be unpacked into /opt, see above"
}
program() { # NAME MODULE: write a program that runs main() of the module in the directory NAME.d
  printf '#!%s -I\nimport sys\nsys.path.insert(0, "%s.d")\nfrom %s import main\nsys.exit(main())\n' \
    "$python" "$work/$1" "$2" >"$work/$1"
  chmod 755 "$work/$1"
}
unpack "$work/pyindex.d" "$work"/appliance/pack/wheels/*.whl
program pyindex appliance.cli
unpack "$work/ansible-playbook.d" "$work"/appliance/wheels/*.whl
program ansible-playbook ansible.cli.playbook
"$work/pyindex" --version >/dev/null ||
  fail "the programs of the medium do not run in /opt; is it mounted noexec?"

# Ansible requires UTF-8. CentOS 7 has no C.UTF-8.
locale=$(locale -a | grep -iE '^(C|en_US)\.utf-?8$' | head -n 1)
command -v python3 >/dev/null || command -v python >/dev/null ||
  set -- -e ansible_python_interpreter="$python" "$@"
playbook=$work/appliance/ansible
env -i PATH="$PATH" HOME="$work" LC_ALL="${locale:-C.UTF-8}" \
  ANSIBLE_CONFIG="$playbook/ansible.cfg" ANSIBLE_REMOTE_TEMP="$work/tmp" \
  "$work/ansible-playbook" --inventory "$work/appliance/hosts" \
  -e pyindex_spec="$work/appliance/spec/pyindex.yml" -e pyindex_command="$work/pyindex" \
  -e pyindex_pack="$work/appliance/pack" -e pyindex_host_python="$python" \
  -e pyindex_private_ca_directory=/root/pyindex/private-ca \
  -e pyindex_backups=/root/pyindex/backups \
  "$@" "$playbook/site.yml" ||
  fail "the playbook failed, see above; correct the cause and run this again"
case " $*" in *" --check"* | *" -C"* | *" --tags"* | *" -t"* | *" --list"* | *" --syntax"*) exit 0 ;; esac

cd /
for bundle in "$medium"/*; do
  case $bundle in
    *.001) set -- "${bundle%.001}".[0-9][0-9][0-9] ;;
    *.[0-9][0-9][0-9]) continue ;;
    *) set -- "$bundle" ;;
  esac
  # The first member of a bundle.
  [ -f "$bundle" ] && [ "$(head -c 13 "$bundle" | tr -d '\0')" = manifest.json ] || continue
  for volume; do
    runuser -u pyindex -- test -r "$volume" ||
      fail "$volume: not readable by the user pyindex; mount the medium where all users can read it, and run this again"
  done
  /opt/pyindex/current/bin/pyindex load --spec /etc/pyindex/pyindex.yml \
    ${key:+--key "$key"} "$@" || fail "$bundle: not loaded, see above; the index runs"
done

echo "The index runs at $url. Next, on a client:"
echo "  pip install $options NAME"
