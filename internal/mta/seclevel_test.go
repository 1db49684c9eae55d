package mta

import "testing"

// The last level in a cipher string counts, as in OpenSSL.
func TestCipherLevel(t *testing.T) {
	for list, want := range map[string]int{"": -1, "HIGH:!aNULL": -1, "DEFAULT@SECLEVEL=2": 2, "@SECLEVEL=0:ALL": 0,
		"ALL:@SECLEVEL=1:@SECLEVEL=3": 3,
		"ALL:@SECLEVEL=":              -1, "ALL:@SECLEVEL=9": -1, "ALL:@SECLEVEL=22": -1, "@STRENGTH": -1} {
		got, set := cipherLevel(list)
		if !set {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, want %d", list, got, want)
		}
	}
	if n, set := ParseCF([]byte("O CipherList=ALL:@SECLEVEL=0\n")).SecurityLevel(); n != 0 || !set {
		t.Errorf("%d %v", n, set)
	}
}

// openssl.cnf sets a level for every program if its three section names lead to it.
func TestConfLevel(t *testing.T) {
	const rest = "[s]\nsystem_default=d\n[d]\nMinProtocol = TLSv1.2\nCipherString = DEFAULT@SECLEVEL=2\n"
	for conf, want := range map[string]int{
		"": -1,
		"openssl_conf = i\n[i]\nssl_conf = s\n" + rest:          2,
		"[default]\nopenssl_conf=i\n[ i ]\nssl_conf=s\n" + rest: 2,
		"openssl_conf = i\n[i]\nproviders = s\n" + rest:         -1,
		rest: -1,
		"#openssl_conf = i\n[i]\nssl_conf = s\n" + rest: -1,
		"openssl_conf = i # yes\r\n[i]\r\nssl_conf = \\\r\n s\r\n[s]\nsystem_default=d\n[d]\nx.cipherstring = " +
			"\"@SECLEVEL=0\"\n": 0,
		"openssl_conf = i\n[i]\nssl_conf = s\n[s]\nserver = d\n[d]\nCipherString=@SECLEVEL=0\n": -1,
	} {
		got, set := ConfLevel([]byte(conf))
		if !set {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, want %d", conf, got, want)
		}
	}
}
