FROM scratch
RUN <<EOF2
apt-get update
  echo "$HOME"
EOF2
RUN <<-'END' python3
	import os
	print(1)
	END
RUN cat <<A <<"B" > /out && echo done
from a
A
from b $X
B
COPY <<one.txt <<'two.txt' /dest/
hello $name
one.txt
FROM nothing
two.txt
COPY --chmod=0755 <<-run.sh plain.txt /bin/
	#!/bin/sh
	run.sh
ADD <<EOF2 /empty
EOF2
RUN echo "<<NOT" '<<NOR' 1<<<string
