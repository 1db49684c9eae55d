// Crowd gives a CA a great number of certificates, for measurements:
//
//	go run ./crowd -rows 1000000 DIR
//
// DIR is the directory of the CA. bench/README.md has the measurements.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"mailcertd/test/bed"
)

func main() {
	c := bed.Crowd{Now: time.Now()}
	flag.IntVar(&c.Rows, "rows", 1_000_000, "certificates")
	flag.IntVar(&c.Revoked, "revoked", 1000, "one certificate in so many is revoked; 0: none")
	flag.IntVar(&c.Names, "names", 0, "number of hosts; 0: each certificate is for another host")
	flag.BoolVar(&c.Counted, "counted", false, "serials are counted, not drawn at random")
	flag.BoolVar(&c.Files, "files", false, "write each certificate into newcerts too")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: crowd [-rows N] [-revoked N] [-names N] [-counted] [-files] DIR")
		os.Exit(2)
	}
	if err := c.Fill(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}
