#!/bin/sh
# Make ratings.parquet and movies.parquet from Debian's package r-cran-dslabs, which ships MovieLens latest-small.
# Needs Debian or Ubuntu with r-base-core, and a Python in which recae is installed (PYTHON, default python3).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get download r-cran-dslabs
dpkg -x r-cran-dslabs_*.deb package

# The package keeps its data in R's lazy-load format, which only R reads.
Rscript --vanilla - <<'R'
package <- new.env()
invisible(lazyLoad("package/usr/lib/R/site-library/dslabs/data/Rdata", envir = package))
write.csv(package$movielens, "movielens.csv", row.names = FALSE, na = "", fileEncoding = "UTF-8")
R

"${PYTHON:-python3}" "$here/make_sample.py" movielens.csv "$here"
