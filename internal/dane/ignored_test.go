package dane

import (
	"crypto/sha512"
	"encoding/hex"
	"testing"
	"time"
)

// Where a record with a stronger digest was removed, resolvers still remember it, and mail hosts that see it ignore the
// record of the next key: the wait begins when it is gone.
func TestStrongerDigestGoes(t *testing.T) {
	sum := sha512.Sum512(key("a").SPKI)
	strong := Record{3, 1, 2, hex.EncodeToString(sum[:]), 3600}
	w := published(t, Update)
	for s := range w.servers {
		w.servers[s] = append(w.servers[s], strong)
	}
	w.waiting()
	w.pass(2*hour, 5*time.Minute)
	w.stage(Publishing, false)
	w.says(AboutChange, Warning, "3 1 2 of another key", "remove the record 3 1 2")
	for s := range w.servers {
		w.servers[s] = []Record{rec("a", hour), rec("b", hour)}
	}
	w.look()
	w.stage(Waiting, false)
	w.pass(hour-time.Minute, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(time.Minute+time.Second, time.Hour)
	w.stage(Ready, true)
}

// A look takes time, and a server may have got the record just before it answered: the wait begins after the answers.
func TestLongLook(t *testing.T) {
	w := published(t, Update)
	w.took = 40 * time.Second
	w.waiting()
	w.took = 0
	w.pass(hour+39*time.Second, 5*time.Minute)
	w.stage(Waiting, false)
	w.pass(2*time.Second, hour)
	w.stage(Ready, true)
}
