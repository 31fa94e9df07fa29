FROM scratch
  RUN   indented   and   spaced  
	RUN tab
RUN a \  
  b\\
RUN ends with backslash\\
RUN last \
