package ca

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// We recognise what openssl cannot parse in a serial file.
func TestSerialAsOpensslReadsIt(t *testing.T) {
	o, _ := made(t)
	for _, text := range []string{"03\n", "3\n", " 03\n", "03", "03\r\n", "03 \n\n", "003\n", "0003\n", "ab\n",
		"\n03\n", "03 4\n", "ABC\n", "00\n", "000\n", "FF" + strings.Repeat("0", 18) + "\n"} {
		path := filepath.Join(o.Dir, crlNumName)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := openssl(t, o.Dir, "ca", "-config", "openssl.cnf", "-gencrl", "-out", "/dev/null")
		if reads := opensslReads([]byte(text)); reads != (err == nil) {
			t.Errorf("%q: we say %v, openssl %v", text, reads, err)
		}
	}
}
