#!/bin/sh
# uninstall.sh ROOT [DIR...]: remove what the play placed beside the files that it has a list of; with
# DIR, the directories of packages, catalog and copies, too. Says "removed" of what it removed.
#
# Only what bears our names goes: what somebody else put beside it stays, and is told as "left". A DIR
# goes only if the play made it, which is written in ROOT/opt/pyindex/made. rm follows no link, and
# leaves other file systems alone.
set -eu
root=${1%/}
shift

ours() {
  for path; do
    if [ -e "$path" ] || [ -L "$path" ]; then
      rm -rf --one-file-system -- "$path"
      echo "removed $path"
    fi
  done
}

empty() {
  for path; do
    if [ -d "$path" ] && [ ! -L "$path" ]; then
      rmdir --ignore-fail-on-non-empty -- "$path"
      [ ! -d "$path" ] || echo "left $path: it has something in it that is not ours"
    fi
  done
}

for directory; do
  if grep -qsxF -e "$directory" "$root/opt/pyindex/made"; then
    ours "$root$directory"
  elif [ -e "$root$directory" ]; then
    echo "left $root$directory: it was there before the first play"
  fi
done

[ "$(readlink "$root/usr/local/bin/pyindex")" != /opt/pyindex/current/bin/pyindex ] ||
  ours "$root/usr/local/bin/pyindex"
for path in "$root"/opt/pyindex/releases/* "$root"/opt/pyindex/python-*; do
  name=${path##*/}
  case $name in
    python-*) name=0-${name#python-} ;;
  esac
  if printf %s "$name" | grep -qxE '[0-9][0-9A-Za-z.+!]*-[0-9a-f]{12}'; then
    ours "$path"
  fi
done
for name in current previous started.json served made restored.sqlite; do
  ours "$root/opt/pyindex/$name"
done
ours "$root/etc/pyindex/placed.json" "$root/var/cache/pyindex-debs" "$root/var/cache/pyindex-rpms" \
  "$root/run/pyindex"
for path in "$root"/var/log/pyindex/access.log* "$root"/var/log/pyindex/error.log* \
  "$root"/var/log/pyindex/pyindex-server.log* "$root"/var/log/pyindex/pyindex-watch.log*; do
  ours "$path"
done
empty "$root/opt/pyindex/releases" "$root/opt/pyindex" "$root/etc/pyindex/client" \
  "$root/etc/pyindex/tls" "$root/etc/pyindex" "$root/var/log/pyindex"
