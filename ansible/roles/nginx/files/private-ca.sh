#!/bin/sh
# private-ca.sh DIR NAME... [-- NAME...]: DIR/ca.pem, a private CA, and DIR/<first NAME>.pem with .key,
# a certificate of it for all the names and addresses before the --. Says "made" if it made something.
# A certificate is made anew for other names, or in its last month. The extensions are those that
# Python 3.13's strict verification asks for.
#
# A new CA can vouch for the names on both sides of the --, and for what is below them, and for no
# others, so that its key is of no use against clients elsewhere. A CA that is there stays as it is.
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
# A kind of name of which nothing is said is not limited at all: say something that is nobody's.
permitted=${permitted:-,permitted;DNS:invalid}
# OpenSSL 1.0.1 and its kin refuse a certificate for an address if the CA says anything of addresses.
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
  fail "ca.pem has expired; move this directory away, run the play again, and give clients the new ca.pem"

if [ ! -e "$name.pem" ] || [ "$(cat "$name.names" 2>/dev/null)" != "$names" ] ||
  ! openssl x509 -in "$name.pem" -noout -checkend 2592000 >/dev/null ||
  ! openssl verify -CAfile ca.pem "$name.pem" >/dev/null 2>&1; then
  # The common name is no host name, so that it stands under no rule for them.
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
    fail "ca.pem is not for all of $names. Take another directory (pyindex_private_ca_directory), \
or move this one away and run the play again; then give clients the new ca.pem. \
pyindex_private_ca_permits names a domain for hosts to come"
  fi
  mv "$name.key.part" "$name.key"
  mv "$name.part" "$name.pem"
  printf %s "$names" >"$name.names"
  echo "made $name.pem"
fi
