module sums

go 1.27
