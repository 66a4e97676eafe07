module actors

go 1.20
