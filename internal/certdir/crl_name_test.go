package certdir

import "testing"

func TestCRLLinkName(t *testing.T) {
	for name, want := range map[string]bool{"0123abcd.r0": true, "0123abcd.r9999": true, "0123abcd.r10": true,
		"0123abcd.r01": false,
		"0123abcd.r":   false, "0123abcd.r10000": false, "0123ABCD.r0": false, "0123abc.r0": false, "0123abcd.0": false,
		"0123abcd.r0.r0": false,
		"0123abcd.r-1":   false, "0123abcde.r0": false, "": false} {
		if isCRLLinkName(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
}
