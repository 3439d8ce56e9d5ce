#!/bin/sh
# Skein runs this on every node before a new version gets traffic; it looks at the judged instance itself.
# Where no http process runs (a node that only has say) there is nothing to look at.
[ -z "${SKEIN_ADDRESS_HTTP-}" ] && exit 0
exec node -e '
  fetch(`http://${process.env.SKEIN_ADDRESS_HTTP}/`)
    .then((r) => r.text())
    .then((text) => { if (!/^beep/.test(text)) throw new Error(`the greeting is ${JSON.stringify(text)}`); })
    .catch((error) => { console.error(error.message); process.exit(1); });
'
