package certdir

// placeholder is the content of both files of a pair whose first key waits for its TLSA record. sendmail offers no
// STARTTLS at all while a file is missing that sendmail.cf names; a file that it cannot load costs only its own pair.
var placeholder = []byte(`# mailcertd has made this file. It has no key or certificate yet, because the
# TLSA record of the first key of this pair must be known everywhere before
# sendmail uses the key; "mailcertd status" says when that is. The file is here
# because sendmail offers no STARTTLS while a file that sendmail.cf names is
# missing. Until then sendmail serves the other pair.
`)

// Placeholder returns the content of the files that keep the place of a pair.
func Placeholder() []byte { return append([]byte(nil), placeholder...) }

// IsPlaceholder reports whether the key file keeps the place of a key.
func (e KeyEntry) IsPlaceholder() bool { return e.Node.IsRegular && e.Digest == sum(placeholder) }

// IsPlaceholder reports whether the certificate file keeps the place of a certificate.
func (e CertEntry) IsPlaceholder() bool { return e.Node.IsRegular && e.Digest == sum(placeholder) }
