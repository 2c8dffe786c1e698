#!/bin/sh
# private-ca.sh DIR NAME... [-- NAME...]: create DIR/ca.pem, a private CA, and DIR/<first NAME>.pem with
# .key, a certificate of it for all names and addresses before the --. Prints "made" for each.
# A certificate is replaced for other names, and in its last month. The extensions are those that the
# strict verification of Python 3.13 requires.
#
# A new CA can sign for the names on both sides of the --, and for names below them, and for no others,
# so that its key is useless against other hosts. An existing CA is not changed.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
shift
name=$1

fail() {
  echo "private-ca.sh: $PWD: $1" >&2
  exit 1
}

is_address() {
  case $1 in
    *:*) ;;
    *[!0-9.]*) return 1 ;;
  esac
}

names= permitted= addresses=none more=
for word; do
  if [ "$word" = -- ]; then
    more=yes
  elif is_address "$word"; then
    addresses=some
    [ "$more" ] || names="$names,IP:$word"
  else
    permitted="$permitted,permitted;DNS:$word"
    [ "$more" ] || names="$names,DNS:$word"
  fi
done
names=${names#,}
# A kind of name without a constraint is not limited at all: permit a name that no host has.
permitted=${permitted:-,permitted;DNS:invalid}
# OpenSSL 1.0.1 rejects a certificate for an address if the CA constrains addresses.
if [ $addresses = none ]; then
  permitted="$permitted,excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:::/::"
fi

if [ ! -e ca.pem ]; then
  cat >ca.cnf <<END
[req]
distinguished_name = dn
x509_extensions = ca
prompt = no
[dn]
CN = $(printf %.64s "Private CA of $name")
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
nameConstraints = critical$permitted
END
  openssl req -x509 -newkey rsa:3072 -nodes -sha256 -days 3650 -config ca.cnf \
    -keyout ca.key -out ca.part 2>/dev/null
  mv ca.part ca.pem
  echo "made ca.pem"
fi
openssl x509 -in ca.pem -noout -checkend 0 >/dev/null ||
  fail "ca.pem has expired; move this directory, run the play again, and give clients the new ca.pem"

if [ ! -e "$name.pem" ] || [ "$(cat "$name.names" 2>/dev/null)" != "$names" ] ||
  ! openssl x509 -in "$name.pem" -noout -checkend 2592000 >/dev/null ||
  ! openssl verify -CAfile ca.pem "$name.pem" >/dev/null 2>&1; then
  # The common name is not a host name, so that no rule for host names applies to it.
  cat >"$name.cnf" <<END
[req]
distinguished_name = dn
prompt = no
[dn]
CN = $(printf %.64s "pyindex at $name")
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = $names
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
  openssl req -new -newkey rsa:2048 -nodes -sha256 -config "$name.cnf" \
    -keyout "$name.key.part" -out "$name.csr" 2>/dev/null
  openssl x509 -req -sha256 -days 800 -in "$name.csr" -CA ca.pem -CAkey ca.key \
    -set_serial "0x00$(openssl rand -hex 16)" -extfile "$name.cnf" -extensions leaf \
    -out "$name.part" 2>/dev/null
  rm "$name.csr"
  if ! openssl verify -CAfile ca.pem "$name.part" >/dev/null 2>&1; then
    rm "$name.part" "$name.key.part"
    fail "ca.pem is not for all of $names; choose another directory (pyindex_private_ca_directory), \
or move this one, and run the play again; then give clients the new ca.pem. \
pyindex_private_ca_permits permits a domain for later hosts"
  fi
  mv "$name.key.part" "$name.key"
  mv "$name.part" "$name.pem"
  printf %s "$names" >"$name.names"
  echo "made $name.pem"
fi
