#!/bin/sh
# private-ca.sh DIR NAME...: DIR/ca.pem, a private CA, and DIR/<first NAME>.pem with .key, a
# certificate of it for all the names and addresses. Says "made" if it made something. A certificate
# is made anew for other names, or in its last month. The extensions are those that Python 3.13's
# strict verification asks for.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
shift
name=$1

if [ ! -e ca.pem ]; then
  cat >ca.cnf <<END
[req]
distinguished_name = dn
x509_extensions = ca
prompt = no
[dn]
CN = Private CA of $name
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
  openssl req -x509 -newkey rsa:3072 -nodes -sha256 -days 7300 -config ca.cnf \
    -keyout ca.key -out ca.part 2>/dev/null
  mv ca.part ca.pem
  echo "made ca.pem"
fi

names=
for word; do
  case $word in
    *[!0-9.]*:* | *:*) names="$names,IP:$word" ;;
    *[!0-9.]*) names="$names,DNS:$word" ;;
    *) names="$names,IP:$word" ;;
  esac
done
names=${names#,}

if [ ! -e "$name.pem" ] || [ "$(cat "$name.names" 2>/dev/null)" != "$names" ] ||
  ! openssl x509 -in "$name.pem" -noout -checkend 2592000 >/dev/null ||
  ! openssl verify -CAfile ca.pem "$name.pem" >/dev/null 2>&1; then
  cat >"$name.cnf" <<END
[req]
distinguished_name = dn
prompt = no
[dn]
CN = $(printf %.64s "$name")
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
  mv "$name.key.part" "$name.key"
  mv "$name.part" "$name.pem"
  printf %s "$names" >"$name.names"
  echo "made $name.pem"
fi
