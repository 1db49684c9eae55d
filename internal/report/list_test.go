package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
)

// A list that is written row by row equals the report encoded as a whole.
func TestWriteList(t *testing.T) {
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	all := []Listed{
		{Serial: "01", Status: "valid", Names: []string{"mail.example.org", "<&>"}, Expires: at, Days: 3,
			Subject: "/CN=mail.example.org"},
		{Serial: "0A", Status: "revoked", Names: []string{}, Expires: at, Revoked: &at, Reason: "superseded",
			Enrolled: true},
		// This row has every field.
		{Serial: "0B", Status: "revoked", Names: []string{"a.example", "b.example"}, Expires: at, Days: -3,
			Revoked: &at, Reason: "superseded", Subject: "/CN=a.example", Enrolled: true, Pair: "host", Soon: true},
		{Serial: "0C", Status: "valid", Names: []string{"a.example"}, Expires: at.AddDate(-2026, 0, 0),
			Subject: "/O=\u00fc\\\x00\x7f\"/CN=a.example"},
		{Serial: "0D", Status: "expired", Names: []string{"a"}, Expires: at.AddDate(7973, 0, 0),
			Subject: "/O=\xff\u2028", Enrolled: true},
	}
	for f := range reflect.ValueOf(all[2]).NumField() {
		if reflect.ValueOf(all[2]).Field(f).IsZero() {
			t.Errorf("the row of every field lacks %s", reflect.TypeFor[Listed]().Field(f).Name)
		}
	}
	for n := range len(all) + 1 {
		want := bytes.Buffer{}
		enc := json.NewEncoder(&want)
		enc.SetIndent("", "  ")
		if err := enc.Encode(List{Version: ListVersion, Dir: "/etc/\"mail\"/CA",
			Certificates: append([]Listed{}, all[:n]...)}); err != nil {
			t.Fatal(err)
		}
		got := bytes.Buffer{}
		err := WriteList(&got, "/etc/\"mail\"/CA", func(take func(Listed) error) error {
			for _, l := range all[:n] {
				if err := take(l); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || got.String() != want.String() {
			t.Errorf("%v\n%s\nwant\n%s", err, got.String(), want.String())
		}
	}
	broken := errors.New("index.txt was changed")
	if err := WriteList(&bytes.Buffer{}, "", func(func(Listed) error) error {
		return broken
	}); !errors.Is(err, broken) {
		t.Error(err)
	}
}
