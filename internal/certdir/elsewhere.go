package certdir

import "mailcertd/internal/durable"

// Elsewhere reads the files that sendmail uses as a client, for a sendmail.cf that names others than those of the certs
// directory: CACertFile, CACertPath, and the pair that it shows; "" for a file that it does not name.
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
