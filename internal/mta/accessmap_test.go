package mta

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The rules about certificates are found in the text of the map that the cf names.
func TestReadAccess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	text := "# CERTSubject:/CN=comment RELAY\nConnect:192.0.2.1\tRELAY\n\ncertissuer:/O=Home/CN=CA+20x\tSUBJECT\n" +
		"CERTSubject:/CN=a.example RELAY\nCERTSubject: RELAY\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	want := []AccessRule{{4, "CERTIssuer", "/O=Home/CN=CA+20x", "SUBJECT"},
		{5, "CERTSubject", "/CN=a.example", "RELAY"}, {6, "CERTSubject", "", "RELAY"}}
	for line, found := range map[string]bool{
		"Kaccess hash -T<TMPF> " + path:            true,
		"Kaccess hash -o -T<TMPF> " + path + ".db": true,
		"Kaccess btree " + path:                    true,
		"Kaccess ldap -1 -v sendmailMTAMapValue":   false,
		"Kmailertable hash " + path:                false,
		"#Kaccess hash " + path:                    false,
		"":                                         false,
	} {
		m := ReadAccess(ParseCF([]byte(line + "\n")))
		if (m.Path == path) != found || m.Err != nil || found && !reflect.DeepEqual(m.Rules, want) {
			t.Errorf("%q: %+v", line, m)
		}
	}
	for line, why := range map[string]string{
		"Kaccess ldap -1 -v sendmailMTAMapValue": "ldap", // its rules are not known, and there may be some
		"Kaccess program /usr/local/bin/access":  "program",
		"Kaccess hash -o " + path + "-missing":   "",
		"Kaccess hash -o " + path + "-gone":      "-gone.db does not exist",
		"Kaccess hash " + path:                   "",
		"Kmailertable ldap -1":                   "",
	} {
		if err := os.WriteFile(path+"-gone.db", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		m := ReadAccess(ParseCF([]byte(line + "\n")))
		if (m.Unseen == "") != (why == "") || !strings.Contains(m.Unseen, why) || m.Err != nil {
			t.Errorf("%q: %+v", line, m)
		}
	}
	if m := ReadAccess(ParseCF([]byte("Kaccess hash " + filepath.Dir(path) + "\n"))); m.Err == nil {
		t.Error("a directory is no error")
	}
	if m := ReadAccess(ParseCF([]byte("Kaccess hash " + path + "-missing\n"))); m.Err != nil || m.Rules != nil {
		t.Errorf("a map without a text: %+v", m)
	}
}
