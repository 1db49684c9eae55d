module mailcertd/test

go 1.26

require mailcertd v0.0.0

replace mailcertd => ../
