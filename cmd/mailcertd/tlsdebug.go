// What a mail host may show is looked at, not trusted: Go's own bounds for keys
// and serials are no verdict of OpenSSL's or sendmail's.

//go:debug rsa1024min=0
//go:debug x509negativeserial=1
//go:debug tlsmaxrsasize=16384
package main
