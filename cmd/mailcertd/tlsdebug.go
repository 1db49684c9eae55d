// mailcertd only looks at what a mail host shows, and does not trust it. So it lifts Go's limits for keys and serial
// numbers, which are not those of OpenSSL and sendmail.

//go:debug rsa1024min=0
//go:debug x509negativeserial=1
//go:debug tlsmaxrsasize=16384
package main
