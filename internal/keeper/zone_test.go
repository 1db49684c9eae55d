package keeper

import (
	"errors"
	"slices"
	"testing"

	"mailcertd/internal/dns"
)

// A TXT record counts only if every server that answers has it, because the CA may ask any of them.
func TestRecordsOfAllServers(t *testing.T) {
	away := errors.New("no answer in time")
	view := func(err error, texts ...string) dns.View {
		v := dns.View{Server: "ns.example.org.", Err: err}
		for _, text := range texts {
			v.Records = append(v.Records, dns.TXT("_validation-persist.mail.example.org.", text, 0))
		}
		return v
	}
	for _, c := range []struct {
		name  string
		views []dns.View
		want  []string
		err   bool
	}{
		{"all have it", []dns.View{view(nil, "a", "b"), view(nil, "a")}, []string{"a"}, false},
		{"the secondary lags", []dns.View{view(nil, "a"), view(nil)}, nil, false},
		{"one does not answer", []dns.View{view(away), view(nil, "a")}, []string{"a"}, false},
		{"the last does not answer", []dns.View{view(nil, "a"), view(away)}, []string{"a"}, false},
		{"twice in one answer", []dns.View{view(nil, "a", "a"), view(nil)}, nil, false},
		{"none answers", []dns.View{view(away), view(away)}, nil, true},
	} {
		got, err := everywhere(c.views)
		if !slices.Equal(got, c.want) || (err != nil) != c.err {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}
