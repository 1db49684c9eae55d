package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"path/filepath"
	"strings"
)

// Form is the format of a file that has neither certificate nor key in PEM.
type Form struct {
	Name string // for people, such as "PKCS#7 in DER"; "" where it is not known
	// Command is the command that converts it to PEM, or a clause that says what to do; "" for neither.
	Command string
}

var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
)

// aFile stands for the name of a file that is not known.
const aFile = "FILE"

// pemName is the file that the command of a Form writes.
func pemName(path string) string {
	out := strings.TrimSuffix(path, filepath.Ext(path)) + ".pem"
	if out == path {
		out = path + ".pem"
	}
	return out
}

// FormOf recognizes the formats in which sellers and other programs deliver keys and certificates. path is used only in
// the command.
func FormOf(data []byte, path string) Form {
	if path == "" {
		path = aFile
	}
	in, out := quoted(path), quoted(pemName(path))
	pkcs7 := func(name, inform string) Form {
		return Form{name, "openssl pkcs7 " + inform + "-print_certs -in " + in + " -out " + out}
	}
	switch label := firstLabel(data); {
	case label == "PKCS7" || label == "PKCS #7 SIGNED DATA" || label == "CMS":
		return pkcs7("PKCS#7 in PEM", "")
	case label == "PKCS12":
		return Form{"PKCS#12 in PEM", "openssl pkcs12 -in " + in + " -out " + out + " -nodes"}
	case strings.HasSuffix(label, "CERTIFICATE REQUEST"):
		return Form{"a certificate request", "`mailcertd sign` on the CA host makes a certificate from it"}
	case label == "PUBLIC KEY" || label == "RSA PUBLIC KEY":
		return Form{"a public key", "the certificate and the private key are needed"}
	case label == "TRUSTED CERTIFICATE":
		return Form{"a certificate in OpenSSL's own format with trust settings (TRUSTED CERTIFICATE)",
			"openssl x509 -in " + in + " -out " + out}
	case label == "NEW CERTIFICATE":
		return Form{"a certificate with the label NEW CERTIFICATE",
			"sed 's/ NEW CERTIFICATE/ CERTIFICATE/' " + in + " > " + out}
	case label == "ATTRIBUTE CERTIFICATE":
		return Form{"an attribute certificate", "the certificate of the host is needed"}
	case isCertBlock(label):
		return Form{"a certificate without a private key", "the private key is needed as well"}
	case isKeyBlock(label) || label == "ENCRYPTED PRIVATE KEY":
		return Form{"a private key without a certificate", "the certificate is needed as well"}
	case label == "OPENSSH PRIVATE KEY":
		return Form{"a key of OpenSSH", "`ssh-keygen -p -m PEM -f " + in + "` converts a copy of it to PEM"}
	case label == "X509 CRL":
		return Form{"a revocation list (CRL)", "the certificate is needed"}
	}
	switch {
	case bytes.HasPrefix(data, []byte{0xfe, 0xed, 0xfe, 0xed}), bytes.HasPrefix(data, []byte{0xce, 0xce, 0xce, 0xce}):
		return Form{"a Java keystore (JKS)", "`keytool -importkeystore -srckeystore " + in + " -destkeystore " + out +
			".p12 -deststoretype pkcs12` converts it to PKCS#12"}
	case bytes.HasPrefix(data, []byte("PuTTY-User-Key-File")):
		return Form{"a key of PuTTY", "the key of the certificate is needed"}
	case bytes.HasPrefix(data, []byte("ssh-")), bytes.HasPrefix(data, []byte("ecdsa-sha2-")):
		return Form{"a public key of OpenSSH", "the certificate and the private key are needed"}
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		return Form{"compressed with gzip", "gzip -dc " + in + " > " + out}
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return Form{"a ZIP archive", "`unzip " + in + "` extracts the files"}
	case bytes.HasPrefix(data, []byte{0x1e, 0xf1, 0xb5, 0xb0}):
		return Form{"a private key in Microsoft's PVK form", "openssl rsa -inform PVK -in " + in + " -out " + out}
	case len(data) > 12 && data[0] == 7 && data[1] == 2 && bytes.HasPrefix(data[8:], []byte("RSA")):
		return Form{"a private key in Microsoft's blob form", "openssl rsa -inform MSBLOB -in " + in + " -out " + out}
	case bytes.HasPrefix(data, []byte("-\x00-\x00-\x00")):
		return Form{"text in UTF-16", "iconv -f UTF-16LE -t UTF-8 " + in + " > " + out}
	case bytes.HasPrefix(data, []byte("\x00-\x00-\x00-")):
		return Form{"text in UTF-16", "iconv -f UTF-16BE -t UTF-8 " + in + " > " + out}
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return Form{"text in UTF-16", "iconv -f UTF-16 -t UTF-8 " + in + " > " + out}
	}
	if len(data) == 0 || data[0] != 0x30 {
		return textForm(data, pkcs7, in, out)
	}
	return derForm(data, pkcs7, in, out)
}

func derForm(data []byte, pkcs7 func(name, inform string) Form, in, out string) Form {
	var whole asn1.RawValue
	if _, err := asn1.Unmarshal(data, &whole); err != nil {
		if len(data) > 1 && data[1] == 0x80 { // BER, as some make PKCS#7 and PKCS#12
			if bytes.Contains(data[:min(len(data), 32)], []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02}) {
				return pkcs7("PKCS#7 in DER", "-inform der ")
			}
			return Form{"PKCS#12", "openssl pkcs12 -in " + in + " -out " + out + " -nodes"}
		}
		return Form{}
	}
	var oid asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(whole.Bytes, &oid); err == nil && oid.Equal(oidSignedData) {
		return pkcs7("PKCS#7 in DER", "-inform der ")
	}
	var version int
	var inner asn1.RawValue
	if rest, err := asn1.Unmarshal(whole.Bytes, &version); err == nil {
		if _, err := asn1.Unmarshal(rest, &inner); err == nil && version == 3 {
			if _, err := asn1.Unmarshal(inner.Bytes, &oid); err == nil &&
				(oid.Equal(oidData) || oid.Equal(oidSignedData)) {
				return Form{"PKCS#12", "openssl pkcs12 -in " + in + " -out " + out + " -nodes"}
			}
		}
	}
	key := "openssl pkey -inform der -in " + in + " -out " + out
	if _, err := ParseCertificate(data); err == nil {
		return Form{"a certificate in DER", "openssl x509 -inform der -in " + in + " -out " + out}
	}
	if _, err := x509.ParseCertificateRequest(data); err == nil {
		return Form{"a certificate request in DER", "`mailcertd sign` on the CA host makes a certificate from it"}
	}
	if _, err := x509.ParseRevocationList(data); err == nil {
		return Form{"a revocation list (CRL) in DER", "the certificate is needed"}
	}
	if _, err := x509.ParsePKIXPublicKey(data); err == nil {
		return Form{"a public key in DER", "the certificate and the private key are needed"}
	}
	var e encryptedKey
	if exactly(data, &e) == nil {
		return Form{"an encrypted private key in DER", key}
	}
	_, errRSA := x509.ParsePKCS1PrivateKey(data)
	_, errEC := x509.ParseECPrivateKey(data)
	if _, err := x509.ParsePKCS8PrivateKey(data); err == nil || errRSA == nil || errEC == nil ||
		version == 0 && isPKCS8(data) && len(inner.Bytes) > 0 {
		return Form{"a private key in DER", key}
	}
	return Form{"DER of an unknown kind", ""}
}

// textForm recognizes PEM that was changed by another program, such as a mail program.
func textForm(data []byte, pkcs7 func(name, inform string) Form, in, out string) Form {
	const begin = "-----BEGIN "
	if i := bytes.Index(data, []byte(begin)); i >= 0 {
		switch bol := i == 0 || data[i-1] == '\n'; {
		case bol && bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') >= 0,
			!bol && data[i-1] == '\r' && bytes.IndexByte(data, '\n') < 0:
			return Form{"PEM with CR as its line end", `tr '\r' '\n' < ` + in + " > " + out}
		case !bol:
			return Form{"PEM with other characters at the start of its lines",
				"sed 's/^.*-----BEGIN /-----BEGIN /; s/^[> \t]*//' " + in + " > " + out}
		}
		return Form{}
	}
	der, err := base64.StdEncoding.DecodeString(string(bytes.Join(bytes.Fields(data), nil)))
	if err != nil || len(der) < 16 || der[0] != 0x30 {
		return Form{}
	}
	f := derForm(der, pkcs7, in, out)
	if f.Name == "" {
		return Form{}
	}
	return Form{strings.TrimSuffix(f.Name, " in DER") + " in base64 without BEGIN and END lines",
		"openssl base64 -d -A -in " + in + " -out " + in + ".der && " +
			strings.ReplaceAll(f.Command, "-in "+in, "-in "+in+".der")}
}

// Conversion is how a file of another form becomes PEM.
type Conversion struct {
	// Command is for a shell: it reads In and writes Out, names that are quoted as the shell needs it. "" where no
	// command does it.
	Command, In, Out string
	// Several says that Out may contain more than the one certificate or key that is needed.
	Several bool
	// Advice is what to do where there is no command; "" for nothing.
	Advice string
}

// ConversionOf returns the conversion of the file at path, where err is why ReadKeyFile, ReadCertFile or ReadLeafFile
// could not use it; the zero value where the form of the file is not the cause. It needs no content, so that no error
// keeps a key.
func ConversionOf(err error, path string) (c Conversion) {
	var e formError
	if !errors.As(err, &e) {
		return c
	}
	c.In, c.Out = quoted(path), quoted(pemName(path))
	command := strings.NewReplacer(aFile+".pem", c.Out, aFile, c.In).Replace(e.form.Command)
	if !strings.Contains(e.form.Command, aFile) || strings.Contains(e.form.Command, "`") {
		return Conversion{Advice: command}
	}
	c.Command, c.Several = command, strings.HasPrefix(e.form.Name, "PKCS#")
	return c
}

// firstLabel is the label of the first whole block; "" where there is none.
func firstLabel(data []byte) string {
	for pos := 0; ; {
		b, next, err := nextBlock(data, pos)
		if errors.Is(err, errNoStart) || err == nil {
			return b.label
		}
		pos = next
	}
}

// CertificateFromDER is the PEM form of a file with one certificate in DER; nil for any other file.
func CertificateFromDER(data []byte) []byte {
	var v asn1.RawValue
	if rest, err := asn1.Unmarshal(data, &v); err != nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil
	}
	if _, err := ParseCertificate(v.FullBytes); err != nil {
		return nil
	}
	return EncodeCertificate(v.FullBytes)
}

// quoted is word as sh(1) needs it, in quotes if necessary.
func quoted(word string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			strings.ContainsRune("/._-+,:@", r)
	}
	if strings.IndexFunc(word, func(r rune) bool { return !safe(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
