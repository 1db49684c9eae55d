package mta

import (
	"fmt"
	"strings"
)

// AccessKey turns a distinguished name in openssl's one-line form into the text that follows CERTIssuer: and
// CERTSubject: in an access map. That is the value of ${cert_issuer} and ${cert_subject}, in which white space,
// non-printable characters and + \ ( ) < > " are written as + and two hexadecimal digits (cf/README, "STARTTLS";
// sendmail's xtext). sendmail cuts names to 255 octets before it encodes them.
func AccessKey(oneLine string) string {
	const most = 255
	if len(oneLine) > most {
		oneLine = oneLine[:most]
	}
	var b strings.Builder
	for _, c := range []byte(oneLine) {
		if c < '!' || c > '~' || strings.IndexByte(`+\()<>"`, c) >= 0 {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
