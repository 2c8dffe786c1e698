#!/bin/sh
# install-debs.sh DIR PACKAGE...: install packages from the .deb files in DIR, with what they need
# of these, without a network. What the host has in the same version or newer stays.
set -eu
cd "$1"
shift
for file in *.deb; do
  dpkg-deb --field "$file"
  printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' \
    "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
done >Packages
mkdir -p lists/partial
echo "deb [trusted=yes] file:$PWD ./" >sources.list
cat >apt.conf <<END
Dir::Etc::SourceList "$PWD/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$PWD/lists";
APT::Sandbox::User "root";
END
export APT_CONFIG="$PWD/apt.conf" DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y --no-install-recommends install "$@"
