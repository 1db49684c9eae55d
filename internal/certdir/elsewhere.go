package certdir

import "mailcertd/internal/durable"

// Elsewhere is what sendmail's client reads where its sendmail.cf names other
// files than those of the certs directory: CACertFile, CACertPath, and the pair
// that it shows; "" for one that it does not name.
func Elsewhere(caFile, caDir, cert, key string) Dir {
	var d Dir
	if caDir != "" {
		d = Observe(caDir)
	}
	d.CA, d.Cert, d.Key = CertEntry{}, CertEntry{}, KeyEntry{}
	if caFile != "" {
		d.CA = ReadCert(caFile)
	}
	if cert != "" {
		d.Cert = ReadCert(cert)
	}
	if key != "" {
		d.Key = readKey(durable.Read(key, MaxFile))
	}
	return d
}
