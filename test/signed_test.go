package test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailcertd/test/bed"
)

// soa begins a zone.
const soa = "$TTL 60\n@ SOA ns. root. 1 3600 600 86400 60\n@ NS ns.\n"

// signing are the statements of a zone that BIND signs with a key that it makes in the directory keys.
func signing(keys string) string {
	return `type primary; dnssec-policy default; inline-signing yes; notify no; key-directory "` + keys + `";`
}

// zoneKey waits until BIND has made the key of a zone, "" for the root, and returns the file with its public half.
func zoneKey(t *testing.T, keys, zone string) (file string) {
	t.Helper()
	bed.Wait(t, "the key of "+zone, func() error {
		found, _ := filepath.Glob(filepath.Join(keys, "K"+zone+".+013+*.key"))
		if len(found) != 1 {
			return fmt.Errorf("%q", found)
		}
		file = found[0]
		return nil
	})
	return file
}

// delegate adds DS records to a root zone, whose text had the serial number 1, and waits until it is signed again.
func delegate(t *testing.T, named *bed.Named, root, ds string) {
	t.Helper()
	named.Reload(t, bed.NamedZone{Name: ".", Text: strings.Replace(root, "root. 1 ", "root. 2 ", 1) + ds})
	bed.Wait(t, "the signed root zone", func() error {
		out := named.Control(t, "zonestatus", ".")
		if m := regexp.MustCompile(`signed serial: (\d+)`).FindStringSubmatch(out); m != nil && m[1] != "1" &&
			strings.Contains(out, "\nserial: 2\n") {
			return nil
		}
		return fmt.Errorf("%s", out)
	})
}
